"""Brings long lists of remote hosts into the kernel, in portions. Requests come in between."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from upnp_gw.firewall.base import HostLists
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.address_ranges import NO_ADDRESSES, VERSIONS, AddressRanges
from upnp_gw.model.errors import FirewallError

PORTION = 1000
"""Runs of the old list, and of the new one, in one transaction of the kernel, about: a request waits for one."""


class ListLoading:
    """``update`` brings lists into the kernel at once. ``submit`` and ``run_alone``: those of the writer."""

    def __init__(
        self,
        update: Callable[[HostLists], Awaitable[None]],
        submit: Callable[[Callable[[Transaction], None]], object],
        run_alone: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self.update = update
        self.submit = submit
        self.run_alone = run_alone

    async def load(self, before: HostLists, now: HostLists) -> None:
        """Brings the lists from ``before`` to ``now``, ahead of the operation that needs them. Meanwhile the kernel
        lets in no host that neither the old list nor the new one lets in. Does nothing where they are short: the
        operation itself brings these. Raises FirewallError; the kernel has ``before`` then.

        The writer is at work until the last portion, so that nobody compares the kernel with the ledger meanwhile.
        """
        steps = steps_of(before, now)
        first = next(steps, None)
        if first is None:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        portions = _Portions(self, before, first, steps, done)
        self.submit(portions.turn)
        await done


class _Portions:
    """One load. An object and no closures, which would keep the lists until the garbage collector comes."""

    def __init__(
        self,
        loading: ListLoading,
        before: HostLists,
        first: HostLists,
        steps: Iterator[HostLists],
        done: "asyncio.Future[None]",
    ) -> None:
        self._loading = loading
        self._before = before
        self._next: HostLists | None = first
        self._steps = steps
        self._done = done

    def turn(self, transaction: Transaction) -> None:
        """After the requests that wait."""
        self._loading.run_alone(self._portion)

    async def _portion(self) -> None:
        if self._done.done() or self._next is None:
            return
        try:
            await self._loading.update(self._next)
        except FirewallError as error:
            with suppress(FirewallError):  # the next change of the lists brings them all
                await self._loading.update(self._before)
            self._done.set_exception(error)
            return
        except BaseException as error:
            self._done.set_exception(error)
            raise
        self._next = next(self._steps, None)
        if self._next is None:
            self._done.set_result(None)
        else:
            self._loading.submit(self.turn)


def steps_of(before: HostLists, now: HostLists) -> Iterator[HostLists]:
    """The lists after each portion. None where one portion is enough."""
    plans = [
        (name, version, places)
        for name, wanted in now.items()
        for version in VERSIONS
        if (places := _places(before.get(name, NO_ADDRESSES), wanted, version))
    ]
    present = dict(before)
    for name, version, places in plans:
        began = present.get(name, NO_ADDRESSES)
        for place in places:
            present[name] = now[name].up_to(version, place, began)
            yield dict(present)


def _places(before: AddressRanges, now: AddressRanges, version: int) -> list[int]:
    """The addresses up to which the portions go, in order; empty: one portion is enough."""
    same, gone, new = before.differing(version, now)
    if gone + new <= 2 * PORTION:
        return []
    changed = [(ranges, count) for ranges, count in ((before, gone), (now, new)) if count]
    low = min(ranges.run(version, same)[0] for ranges, _ in changed)
    high = max(ranges.run(version, same + count - 1)[0] for ranges, count in changed)
    begins = sorted({*before.begins(version, PORTION), *now.begins(version, PORTION)})
    places = [one for one in begins if low < one <= high and _between(before, now, version, one)]
    return [*places, 1 << (32 if version == 4 else 128)]


def _between(before: AddressRanges, now: AddressRanges, version: int, number: int) -> bool:
    """True if no run of either list goes on across this address."""
    return before.begun_by(version, number) is not None and now.begun_by(version, number) is not None
