"""Flows are ended together, in a small share of the time, and at once if somebody waits for it."""

import asyncio
import threading
import time
from dataclasses import replace
from itertools import count

import pytest

from tests.fixtures.firewall_driver import NETWORK, forward, pinhole
from tests.fixtures.waiting import async_until
from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.flows import Flows, FlowsToEnd
from upnp_gw.firewall.netlink import NfnetlinkSocket
from upnp_gw.firewall.nftables import flow_teardown
from upnp_gw.firewall.nftables.elements import HeldForward
from upnp_gw.firewall.nftables.flow_teardown import (
    GATHER_S,
    LATEST_S,
    MOST_WAITING,
    SHORT_S,
    FlowTeardown,
    rest_s,
    share_s,
)
from upnp_gw.model.mapping import Endpoint, IPAddress
from upnp_gw.system.netlink import InterruptedDump

WALK_S = 1000.0
"""Processor time of a pass after which the next one comes as late as possible."""


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[FlowsToEnd]]:
    """The flows of each pass. A pass seems to take very long."""
    seen: list[list[FlowsToEnd]] = []
    clock = [0.0]

    def end_flows(netlink: NfnetlinkSocket, flows: list[FlowsToEnd]) -> int:
        seen.append(list(flows))
        clock[0] += WALK_S
        return 0

    monkeypatch.setattr(flow_teardown, "end_flows", end_flows)
    monkeypatch.setattr(time, "thread_time", lambda: clock[0])
    return seen


async def test_changes_that_come_together_share_a_pass(passes: list[list[FlowsToEnd]]) -> None:
    teardown = FlowTeardown()
    flows = [Flows.untranslated(forward(f"m{n}", 80 + n), NETWORK.external[0]) for n in range(3)]
    for one in flows:
        teardown.end([one])
    await teardown.settled()
    assert passes == [flows]
    await teardown.close()


async def test_a_host_whose_mappings_keep_coming_delays_no_pass(
    passes: list[list[FlowsToEnd]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_teardown, "LATEST_S", 0.1)
    teardown, more = FlowTeardown(), count(1000)

    def passed_while_more_come() -> bool:
        teardown.end([Flows.untranslated(forward("m1", next(more)), NETWORK.external[0])])
        return len(passes) == 3

    await async_until(passed_while_more_come)
    await teardown.close()


async def test_reopening_a_mapping_does_not_wait_for_the_share(passes: list[list[FlowsToEnd]]) -> None:
    teardown, one, loop = FlowTeardown(), forward("m1", 80), asyncio.get_running_loop()
    teardown.end([Flows.through(forward("m0", 81))])
    await teardown.settled()
    teardown.end([Flows.through(one)])
    await teardown.settled_for([forward("m2", 82)])
    assert len(passes) == 1, "not its own flows"
    begun = loop.time()
    await teardown.settled_for([one])
    assert passes[1:] == [[Flows.through(one)]]
    assert loop.time() - begun < LATEST_S / 2
    await teardown.close()


async def test_a_mapping_waits_for_former_flows_to_another_host(passes: list[list[FlowsToEnd]]) -> None:
    """Not for those to another port of the same host: one host cannot make others wait. Not for a pinhole's."""
    teardown, one = FlowTeardown(), forward("m1", 80)
    six = [forward(f"m{n}", 80, to=f"2001:db8::{n}") for n in (3, 4)]
    four = [pinhole(f"m{n}", 80, to=f"11.99.1.{n}") for n in (5, 6)]
    teardown.end([Flows.through(forward("m0", 81))])
    await teardown.settled()
    teardown.end([Flows.untranslated(one, NETWORK.external[0]), *map(Flows.through, (one, six[0], four[0]))])
    await teardown.settled_for([replace(one, internal=Endpoint(one.internal.address, 8080)), six[1], four[1]])
    assert len(passes) == 1
    await teardown.settled_for([forward("m2", 80, to="192.168.77.20")])
    assert len(passes) == 2
    await teardown.close()


async def test_flows_that_the_kernel_lets_through_end_at_once(
    passes: list[list[FlowsToEnd]], monkeypatch: pytest.MonkeyPatch
) -> None:
    teardown, loop, ended = FlowTeardown(), asyncio.get_running_loop(), asyncio.Event()
    teardown.end([Flows.through(forward("m0", 81))])
    await teardown.settled()

    def end_flows(netlink: NfnetlinkSocket, flows: list[FlowsToEnd]) -> int:
        loop.call_soon_threadsafe(ended.set)
        return 0

    monkeypatch.setattr(flow_teardown, "end_flows", end_flows)
    teardown.end([Flows.through(forward("m1", 80))], at_once=True)
    await asyncio.wait_for(ended.wait(), LATEST_S / 2)
    await teardown.close()


async def test_a_pass_begins_at_once_when_many_flows_wait(passes: list[list[FlowsToEnd]]) -> None:
    teardown = FlowTeardown()
    teardown.end([Flows.through(forward("m0", 81))])
    await teardown.settled()
    many: list[FlowsToEnd] = [Flows.through(forward("m1", 80))] * MOST_WAITING
    teardown.end(many)
    assert not teardown._at_once.is_set(), "they wait for more"
    teardown.end([Flows.through(forward("m2", 82))])
    await asyncio.wait_for(async_until(lambda: len(passes) == 2), LATEST_S / 2)
    assert len(passes[1]) == MOST_WAITING + 1
    await teardown.close()


async def test_a_waiting_caller_does_not_wait_for_later_flows(
    passes: list[list[FlowsToEnd]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next pass comes when its share of the time has come again."""
    teardown, one = FlowTeardown(), forward("m1", 80)
    later = Flows.through(forward("m2", 81))
    more = [later]
    loop = asyncio.get_running_loop()

    def end_flows(netlink: NfnetlinkSocket, flows: list[FlowsToEnd]) -> int:
        passes.append(list(flows))
        if more:
            loop.call_soon_threadsafe(teardown.end, [more.pop()])
        return 0

    monkeypatch.setattr(flow_teardown, "end_flows", end_flows)
    teardown.end([Flows.through(one)])
    await teardown.settled_for([one])
    assert passes == [[Flows.through(one)]]
    await teardown.settled()
    assert passes[1:] == [[later]]
    await teardown.close()


@pytest.mark.parametrize(("left_s", "rest"), [(-5.0, GATHER_S), (0.0, GATHER_S), (0.3, 0.3), (WALK_S, LATEST_S)])
def test_the_rest_between_two_passes(left_s: float, rest: float) -> None:
    assert rest_s(left_s) == rest


@pytest.mark.parametrize(("spent_s", "rest"), [(0.0, 0.0), (0.004, 0.08), (SHORT_S, 0.1), (0.01, 0.4), (0.03, 3.6)])
def test_a_pass_that_held_a_processor_for_longer_rests_longer(spent_s: float, rest: float) -> None:
    assert share_s(spent_s) == pytest.approx(rest)


async def test_a_pass_that_fails_is_logged_and_the_next_one_is_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(netlink: NfnetlinkSocket, flows: list[FlowsToEnd]) -> int:
        used.append(netlink)
        raise OSError(12, "Cannot allocate memory")

    used: list[NfnetlinkSocket] = []
    monkeypatch.setattr(flow_teardown, "end_flows", fails)
    teardown = FlowTeardown()
    for port in (80, 81):
        teardown.end([Flows.through(forward("m1", port))])
        await teardown.settled()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert len(set(map(id, used))) == 4, "the rest of a dump may be in the one before"
    await teardown.close()


async def test_a_pass_that_fails_is_made_once_more_on_a_new_socket(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For flows, and for the remote hosts of mappings."""

    def end_flows(netlink: NfnetlinkSocket, flows: list[FlowsToEnd]) -> int:
        return attempt(netlink) and len(flows)

    def remote_hosts_of(netlink: NfnetlinkSocket, forwards: list[Forward]) -> dict[str, frozenset[IPAddress]]:
        attempt(netlink)
        return {}

    def attempt(netlink: NfnetlinkSocket) -> int:
        used.append(netlink)
        if len(used) % 2:
            raise InterruptedDump(4, "the table changed")
        return 1

    used: list[NfnetlinkSocket] = []
    monkeypatch.setattr(flow_teardown, "end_flows", end_flows)
    monkeypatch.setattr(flow_teardown, "remote_hosts_of", remote_hosts_of)
    caplog.set_level("INFO", flow_teardown.__name__)
    teardown = FlowTeardown()
    teardown.end([Flows.through(forward("m1", 80)), Flows.through(forward("m2", 81))])
    await teardown.settled()
    assert [record.getMessage() for record in caplog.records] == ["ended 2 flows of 2 mappings"]
    assert await teardown.peers([], 0.0) == {}
    assert len(used) == 4
    assert used[0] is not used[1] is used[2] is not used[3]
    await teardown.close()


async def test_the_time_of_a_pass_that_fails_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a kernel that refuses each walk would be asked for the next one 20 times a second."""

    def fails(netlink: NfnetlinkSocket, flows: list[FlowsToEnd]) -> int:
        clock[0] += WALK_S
        raise OSError(12, "Cannot allocate memory")

    clock = [0.0]
    monkeypatch.setattr(time, "thread_time", lambda: clock[0])
    monkeypatch.setattr(flow_teardown, "end_flows", fails)
    teardown = FlowTeardown()
    teardown.end([Flows.through(forward("m1", 80))])
    await teardown.settled()
    assert teardown._rested_at - time.monotonic() > share_s(2 * WALK_S) * 0.9
    await teardown.close()


async def test_all_passes_use_one_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a close the kernel lets no transaction of nftables begin for some 20 ms."""
    used: list[NfnetlinkSocket] = []

    def end_flows(netlink: NfnetlinkSocket, flows: list[FlowsToEnd]) -> int:
        used.append(netlink)
        return 0

    def remote_hosts_of(netlink: NfnetlinkSocket, forwards: list[Forward]) -> dict[str, frozenset[IPAddress]]:
        used.append(netlink)
        return {}

    monkeypatch.setattr(flow_teardown, "end_flows", end_flows)
    monkeypatch.setattr(flow_teardown, "remote_hosts_of", remote_hosts_of)
    teardown = FlowTeardown()
    for port in (80, 81):
        teardown.end([Flows.through(forward("m1", port))], at_once=True)
        await teardown.settled()
    assert await teardown.peers([], 0.0) == {}
    assert len(used) == 3
    assert used[0] is used[1] is used[2]
    assert used[0]._socket.fileno() != -1
    await teardown.close()
    assert used[0]._socket.fileno() == -1


async def test_the_event_loop_makes_no_forward_for_the_search_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tens of thousands of mappings it would answer nobody meanwhile."""
    threads: set[int] = set()

    def remote_hosts_of(netlink: NfnetlinkSocket, forwards: list[Forward]) -> dict[str, frozenset[IPAddress]]:
        return {one.id: frozenset() for one in forwards}

    def made(held: HeldForward, now: float) -> Forward:
        threads.add(threading.get_ident())
        return real(held, now)

    real = HeldForward.forward
    monkeypatch.setattr(flow_teardown, "remote_hosts_of", remote_hosts_of)
    monkeypatch.setattr(HeldForward, "forward", made)
    teardown = FlowTeardown()
    held = [HeldForward.of(forward(f"m{n}", 80 + n), 1000.0) for n in range(3)]
    assert await teardown.peers(held, 900.0) == {f"m{n}": frozenset() for n in range(3)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    await teardown.close()
