"""Work at set times: leases end, mappings are renewed, flows are cut, counters are read.

This module has only the timers. Each change that is due enters the writer's queue, as a request does.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.reevaluation import Reevaluation
from upnp_gw.engine.usage_reader import UsageReader
from upnp_gw.engine.writer import Writer
from upnp_gw.ledger.leases import grant_has_ended, without_expired_holds
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import lan_of, mac_of
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant, IPAddress, Mapping
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Reply
from upnp_gw.system.neighbour_events import (
    AddressContested,
    AddressMoved,
    AddressSettled,
    NeighbourEvent,
    NeighbourGone,
    NeighbourSeen,
)
from upnp_gw.system.tasks import BackgroundTasks

log = logging.getLogger(__name__)

Probe = Callable[[IPAddress, str], Awaitable[bool]]
"""True if the known host is the only one that answers for this address on this LAN interface."""

COUNTERS_S = 10.0
"""Seconds between readings of the counters."""
REMOTES_EVERY = 6
"""Every sixth reading includes the remote hosts: once a minute. The kernel remembers a flow for two minutes."""
LOOK_S = 10.0
"""The most seconds between two sweeps: the loop's timers stop during a suspend, leases do not."""
WALL_STEP_S = 0.5
"""Seconds. A wall clock that moves by more against CLOCK_BOOTTIME was set. NTP slews both."""
RETRY_S = 10.0
"""Seconds until a failed renewal is tried again. The kernel's grace period is longer."""
TOGETHER = 32
"""The most leases that end in one operation, and the most renewals that wait for the writer. After a suspend, or an
hour after a start, thousands may be due: a request does not wait for all of them."""
PROBES = 16
"""The most presence checks at once."""


class Scheduler:
    """Call ``start`` after the gateway's, ``stop`` before the gateway's."""

    def __init__(self, decider: Decider, writer: Writer, probe: Probe, usage: UsageReader) -> None:
        self._writer = writer
        self._ledger = decider.ledger
        self._decider = decider
        self._reevaluation = Reevaluation(decider)
        self._probe = probe
        self._usage = usage
        self._clock = decider.environment.clock
        self._probing = asyncio.Semaphore(PROBES)
        self._to_renew: dict[IPAddress, list[str]] = {}
        """Internal client -> its mappings that wait for its next presence check. A check takes half a second, and
        the kernel closes a mapping 30 s after its renewal was due: a check for each mapping would be too slow."""
        self._renewing = asyncio.Lock()
        self._waiting = Counter[IPAddress]()
        """Internal client -> the number of operations in the writer's queue that park its mappings or open them
        again. Until they are done, the ledger does not say which mappings will be parked."""
        now = self._clock()
        self._wall_offset_s = now.wall - now.boot
        self._being_probed: set[str] = set()
        """Devices whose MAC address appeared on another LAN, while their old addresses are probed."""
        self._loops = BackgroundTasks()
        self._tasks = BackgroundTasks()
        """Renewals and other single tasks."""

    def start(self) -> None:
        self._loops.spawn(self._watch_deadlines())
        self._loops.spawn(self._count())
        self.check_hosts()

    async def stop(self) -> None:
        await self._loops.cancel()
        await self._tasks.cancel()

    async def settled(self) -> None:
        """Waits until no renewal or other single task is running."""
        await self._tasks.wait()

    # -- leases and cuts

    async def _watch_deadlines(self) -> None:
        while True:
            self._writer.deadlines_changed.clear()  # before the sweep, so that no change during it is missed
            self.sweep()
            now, due = self._clock().boot, self._ledger.next_due()
            wait = LOOK_S if due is None else min(LOOK_S, max(0.0, due - now))
            self._writer.next_look = now + wait
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._writer.deadlines_changed.wait()

    def sweep(self) -> None:
        """Submits every operation that is due now."""
        now, ended = self._clock(), list[str]()
        self._check_wall_clock(now)
        for due in self._ledger.deadlines.pop_due(now.boot):
            mapping = self._ledger.table.get(due)
            if mapping is None:
                continue
            if grant_has_ended(mapping, now):
                self._decide_again(due)
            elif without_expired_holds(mapping, now) is not mapping:
                ended.append(due)
            else:
                # the presence check takes seconds, and the grant may end during it
                self._ledger.deadlines.set(due, mapping.grant_ends_at)
                address = mapping.internal.address
                if address not in self._to_renew:
                    self._to_renew[address] = []
                    self._tasks.spawn(self._renew(address))
                self._to_renew[address].append(due)
        for portion in _portions(ended):
            self._submit("expire", portion, partial(self._reevaluation.expire, ids=portion))
        if (at := self._ledger.cuts.next()) is not None and at <= now.boot:
            self._writer.cut_due()

    def _check_wall_clock(self, now: Instant) -> None:
        """If the clock was set, the hours of grants end at other times: decides their mappings again."""
        offset_s = now.wall - now.boot
        if abs(offset_s - self._wall_offset_s) < WALL_STEP_S:
            return
        self._wall_offset_s = offset_s
        for mapping in list(self._ledger.table):
            if mapping.active and mapping.grant_ends_at is not None:
                self._decide_again(mapping.id)

    def _decide_again(self, mapping_id: str) -> None:
        """Decides at once, without a presence check."""
        self._submit_renewal("renew", mapping_id, None)

    async def _renew(self, address: IPAddress) -> None:
        """Renews the mappings of an internal client that are due, after one presence check for all of them."""
        async with self._probing:
            ids = self._to_renew.pop(address)  # one that is due during the check waits for the next
            present = await self._present(address)
        if present is False:  # at once: later it may be here again
            for due in ids:
                self._submit_presence("renew", due, address, present=False)
            return
        for portion in _portions(ids):
            async with self._renewing:
                await asyncio.wait([self._submit_renewal("renew", i, present) for i in portion])

    async def _present(self, address: IPAddress) -> bool | None:
        """True if only one host answers for an address; None if nobody can be asked, as behind another router."""
        network = self._decider.environment.network
        interface = next((link.name for link in network.lans if network.on_link(address, link.name)), None)
        if interface is None:
            return None
        try:
            return await self._probe(address, interface)
        except OSError as error:
            log.warning("cannot check whether a host answers at %s: %s", address, error.strerror)
            return None

    def check_hosts(self, parked: bool = False) -> None:
        """Checks the hosts at the addresses that mappings lead to. ``parked``: only those of parked mappings.

        A mapping from an earlier run, or from before a link was down, may lead to another host by now."""
        for address in {m.internal.address for m in self._ledger.table if m.parked or not parked}:
            self._tasks.spawn(self._check_host(address))

    async def _check_host(self, address: IPAddress) -> None:
        async with self._probing:
            present = await self._present(address)
        host, changing = self._decider.environment.host_of(address), address in self._waiting
        for mapping in self._ledger.table.to_client(address):
            other = not mapping.delegated and host not in (None, mapping.device)
            if present and (mapping.parked or other or changing):
                self._submit_presence("check", mapping.id, address, present=True)
            elif present is False and (mapping.serves or changing):
                self._submit_presence("check", mapping.id, address, present=False)

    def _submit_presence(self, operation: str, mapping_id: str, address: IPAddress, present: bool) -> None:
        """Submits a renewal, after its device was seen at the address or did not answer."""
        renew = partial(self._reevaluation.renew, mapping_id=mapping_id, present=present)
        self._submit_at(address, operation, [mapping_id], renew)

    def _submit_at(
        self, address: IPAddress, operation: str, ids: list[str], step: Callable[[Transaction], None]
    ) -> None:
        """Submits an operation that parks mappings to this address, or opens them again."""
        self._waiting[address] += 1
        self._submit(operation, ids, step).add_done_callback(lambda _: self._done_at(address))

    def _done_at(self, address: IPAddress) -> None:
        self._waiting -= Counter([address])

    def _submit_renewal(
        self, operation: str, mapping_id: str, present: bool | None
    ) -> "asyncio.Future[Reply | None]":
        renew = partial(self._reevaluation.renew, mapping_id=mapping_id, present=present)
        return self._submit(operation, [mapping_id], renew)

    def _submit(
        self, operation: str, ids: list[str], step: Callable[[Transaction], None]
    ) -> "asyncio.Future[Reply | None]":
        """Submits an operation of the gateway itself. If it fails, its mappings are due again in ``RETRY_S``."""
        reply = self._writer.submit(step, max(1, len(ids)))
        self._tasks.spawn(self._follow(operation, ids, reply))
        return reply

    async def _follow(self, operation: str, ids: list[str], waiting: "asyncio.Future[Reply | None]") -> None:
        if await waiting is None:
            return
        log.error("%s of %s did not go through; next try in %.0f s", operation, ", ".join(ids[:8]), RETRY_S)
        again = self._clock().boot + RETRY_S
        for i in ids:
            if self._ledger.table.get(i) is not None:
                self._ledger.deadlines.set(i, again)
        self._writer.deadlines_changed.set()

    # -- neighbours, events of system.network_monitor

    def neighbour_changed(self, event: NeighbourEvent) -> None:
        """Updates the mappings that lead to the address of an event."""
        match event:
            case NeighbourSeen(neighbour):
                self.device_appeared(neighbour)
            case AddressSettled(neighbour):
                self.device_seen(neighbour)
            case AddressContested(address, interface):
                self.contested(address, interface)
            case AddressMoved(address, old_mac, _, interface):
                self.device_moved(Neighbour(address, old_mac, interface))
            case NeighbourGone(address, _, interface):
                self.device_gone(address, interface)

    def device_seen(self, neighbour: Neighbour) -> None:
        """Only this device answers for an address: its parked mappings resume, those of another device end."""
        around = self._decider.environment
        address, device = neighbour.address, around.name_of(neighbour)
        changing = address in self._waiting
        for mapping in self._ledger.table.to_client(address):
            if mapping.parked or changing or (mapping.device != device and not mapping.delegated):
                self._submit_presence("return", mapping.id, address, present=True)
        self.device_appeared(neighbour)

    def device_appeared(self, neighbour: Neighbour) -> None:
        """A device is seen at an address. Another one may answer there too."""
        around = self._decider.environment
        device = around.name_of(neighbour)
        for lan in around.network.lan_names:
            self._probe_other_lan(around.network.device_id(neighbour.mac, lan), device)

    def _probe_other_lan(self, device: str, seen: str) -> None:
        """A MAC address appeared on one LAN: the device with that address on another LAN may have moved."""
        if device != seen and device not in self._being_probed and any(self._active(device)):
            self._being_probed.add(device)
            self._tasks.spawn(self._park_if_gone(device))

    def _active(self, device: str) -> Iterator[Mapping]:
        return (m for m in self._ledger.table.of_device(device) if m.serves and not m.delegated)

    async def _park_if_gone(self, device: str) -> None:
        """Parks a device's mappings at each of its addresses that does not answer."""
        try:
            for address, mapping in {m.internal.address: m for m in self._active(device)}.items():
                async with self._probing:
                    present = await self._present(address)
                if present is False:
                    park = partial(self._reevaluation.park, device=device, address=address)
                    self._submit_at(address, "park", [mapping.id], park)
        finally:
            self._being_probed.discard(device)

    def device_gone(self, address: IPAddress, interface: str) -> None:
        """Nobody answers for an address any more."""
        if self._led_to(address, interface):
            self._submit_at(address, "park", [], partial(self._reevaluation.device_gone, address=address))

    def contested(self, address: IPAddress, interface: str) -> None:
        """Another host claims an address."""
        if self._led_to(address, interface):
            self._submit_at(address, "park", [], partial(self._reevaluation.contested, address=address))

    def holder_of(self, address: IPAddress, interface: str) -> str | None:
        """The MAC address of the device whose mappings lead to an address; active mappings before parked ones."""
        rows = sorted(self._led_to(address, interface), key=lambda mapping: not mapping.serves)
        own = (mapping.device for mapping in rows if not mapping.delegated)
        return next((mac for d in own if lan_of(d) in ("", interface) and (mac := mac_of(d)) is not None), None)

    def _led_to(self, address: IPAddress, interface: str) -> list[Mapping]:
        """The mappings that lead to an address on this LAN."""
        lan = self._decider.environment.network.lan_of(address)
        return self._ledger.table.to_client(address) if lan in ("", interface) else []

    def device_moved(self, before: Neighbour) -> None:
        """An address belongs to another device now. ``before``: its previous entry."""
        address, old = before.address, self._decider.environment.name_of(before)
        if any(m.device == old for m in self._ledger.table.to_client(address)):
            move = partial(self._reevaluation.device_moved, address=address, old=old)
            self._submit_at(address, "move", [], move)

    def network_changed(self) -> None:
        """Links, addresses or prefixes changed."""
        self._writer.update_network()
        self._submit("network", [], self._reevaluation.network_changed)
        self.check_hosts(parked=True)  # a LAN may be there again, with hosts that say nothing by themselves

    # -- counters

    async def _count(self) -> None:
        for number in count(1):
            await asyncio.sleep(COUNTERS_S)
            if self._decider.refusal_counter:
                self._submit(
                    "counted refusals",
                    [],
                    lambda transaction: self._reevaluation.record_counted_refusals(transaction, transaction.now),
                )
            try:
                await self._usage.count(remotes=number % REMOTES_EVERY == 0)
            except FirewallError as error:
                log.warning("the counters cannot be read: %s", error)
            if number % REMOTES_EVERY == 0:
                self.check_hosts(parked=True)
            await self._writer.remember()


def _portions(ids: list[str]) -> list[list[str]]:
    return [ids[first : first + TOGETHER] for first in range(0, len(ids), TOGETHER)]
