"""Long lists come into the kernel in portions: requests are answered in between, and nobody else gets in."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.test_address_lists import GUEST, change, home, lets_in
from upnp_gw.engine import list_loading
from upnp_gw.engine.list_loading import steps_of
from upnp_gw.firewall.base import Change, HostLists, UpdateHosts
from upnp_gw.model.address_ranges import AddressRanges, Span
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.request import Granted

runs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)).map(lambda one: (one[0], sum(one))), max_size=14)
MANY = "".join(f"198.18.{number // 128}.{number % 128 * 2}\n" for number in range(200))


def places(ranges: AddressRanges, version: int) -> set[int]:
    return {number for number in range(70) if ranges.has_number(version, number)}


@given(runs, runs, runs, runs)
def test_each_portion_is_between_the_old_list_and_the_new_one(
    old4: list[Span], new4: list[Span], old6: list[Span], new6: list[Span]
) -> None:
    before = {"one": AddressRanges.of_spans(old4, old6), "gone": AddressRanges.of_spans(new4)}
    now = {"one": AddressRanges.of_spans(new4, new6), "new": AddressRanges.of_spans(old6)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_loading, "PORTION", 2)
        steps = list(steps_of(before, now))
    present: HostLists = before
    for step in steps:
        for version in (4, 6):
            old, new = places(before["one"], version), places(now["one"], version)
            assert old & new <= places(step["one"], version) <= old | new
        moved = sum(
            sum(step[name].differing(version, present[name])[1:])
            for name in step.keys() & present.keys()
            for version in (4, 6)
        )
        assert moved <= 12 or len(steps) <= 4, "a portion is short, but for runs that overlap"
        present = step
    for name, wanted in now.items():
        assert not steps or present.get(name, wanted) == wanted or _short(before.get(name), wanted)


def _short(before: AddressRanges | None, now: AddressRanges) -> bool:
    """The operation itself brings these."""
    counts = [now.differing(version, before or AddressRanges())[1:] for version in (4, 6)]
    return any(sum(count) <= 4 for count in counts)


async def test_requests_are_answered_between_the_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_loading, "PORTION", 20)
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        seen = applied(fixture.firewall, monkeypatch)
        await fixture.granted(8000)
        loading = asyncio.create_task(change(made, "bots.txt", MANY))
        granted = 0
        while not loading.done():
            reply = await fixture.map(8001)
            granted += isinstance(reply, Granted)
        await loading
        portions = [at for at, changes in enumerate(seen) if any(isinstance(one, UpdateHosts) for one in changes)]
        assert len(portions) > 10
        others = set(range(portions[0], portions[-1])) - set(portions)
        assert others, "a request came between two portions"
        assert granted
        assert lets_in(fixture) == {"bot", "guest", "desk"}


async def test_a_portion_that_the_kernel_refuses_brings_the_old_list_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_loading, "PORTION", 20)
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await fixture.granted(8000)
        before = fixture.policy.digest
        applied(fixture.firewall, monkeypatch, refuse=3)
        await change(made, "bots.txt", MANY + f"{GUEST}\n")
        assert fixture.policy.digest == before
        assert lets_in(fixture) == {"guest", "desk"}
        assert made.policy_updates.list_problem == "the address lists stay as they were: no room"


async def test_a_list_that_has_not_changed_is_not_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_loading, "PORTION", 20)
    async with home(tmp_path) as made:
        await change(made, "bots.txt", MANY)
        ranges = made.gateway_fixture.policy.sets["bots"].ranges
        seen = applied(made.gateway_fixture.firewall, monkeypatch)
        await made.policy_updates.reload()
        await change(made, "bots.txt", MANY)
        assert not any(isinstance(one, UpdateHosts) for changes in seen for one in changes)
        assert made.gateway_fixture.policy.sets["bots"].ranges is ranges, "it is not parsed again"


def applied(firewall: Any, patch: pytest.MonkeyPatch, refuse: int = 0) -> list[Sequence[Change]]:
    """The changes of each transaction from now on. ``refuse``: the number of the one that is refused."""
    seen: list[Sequence[Change]] = []
    apply = firewall.apply

    async def noted(changes: Sequence[Change], *more: Any) -> None:
        seen.append(changes)
        if len(seen) == refuse:
            raise FirewallError("no room")
        await apply(changes, *more)

    patch.setattr(firewall, "apply", noted)
    return seen
