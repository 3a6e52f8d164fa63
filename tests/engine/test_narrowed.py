"""The allowed remote hosts of a mapping change: by a policy, the end of a lease, a FILTER that anybody can send."""

import logging
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.fixtures.gateway import PC_IP, GatewayFixture, Removed, gateway_fixture
from tests.fixtures.policy_reload import reload_home
from upnp_gw.firewall.base import Forward
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.model.mapping import RemotePeers, Transport, Via
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Refusal

TCP = Transport.TCP
WIDE = 'version = 1\n[[grant]]\nname = "wide"\nwho = "*"\nint_ports = ["1024-65535"]\next = "same-or-any"\n'
ONE_HOST = WIDE + 'remote = ["203.0.113.5"]\n'
PREFIX = WIDE + 'remote = ["203.0.113.0/24"]\n'
HOST, OTHER = ip_address("203.0.113.5"), ip_address("198.51.100.7")
FILTER = (RemotePeers(ip_network("203.0.113.5/32")),)
NONCE = b"n" * 12


def policy(text: str) -> Policy:
    return load_text(text, "test", date.min).policy


async def two_on_a_port(home: GatewayFixture, remote: str = "203.0.113.5") -> None:
    """One mapping for anyone, one for a remote host that is named; and a third that has nothing to do with them."""
    await home.granted(8000, internal=8000)
    await home.granted(8000, internal=9000, remote=remote)
    await home.granted(8001, PC_IP)


def reached(home: GatewayFixture, host: object = HOST, port: int = 8000) -> list[Forward]:
    return [
        forward
        for forward, _ in home.firewall.installed.values()
        if forward.external_port == port and (forward.remote is None or host in forward.remote)
    ]


async def test_a_grant_that_is_narrowed_to_a_host_that_has_a_mapping_ends_one_mapping_at_a_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with reload_home(tmp_path, WIDE) as home:
        await two_on_a_port(home.gateway_fixture)
        home.file.write_text(ONE_HOST)
        done = await home.policy_updates.reload()
        assert [revoked_mapping.mapping.internal.port for revoked_mapping in done.revoked] == [8000]
        assert "overlapping remote host" in done.revoked[0].reason
        assert "m1 of" in caplog.text
        records = await home.gateway_fixture.store.decisions(RecordFilter(id=done.revoked[0].decision, limit=1))
        assert [(record.verdict, record.action, record.mapping) for record in records] == [("busy", "reload", "m1")]
        assert [forward.internal.port for forward in reached(home.gateway_fixture)] == [9000]
        assert home.gateway_fixture.ports == {(TCP, 8000), (TCP, 8001)}


async def test_the_same_at_a_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await two_on_a_port(home)
    async with gateway_fixture(tmp_path, policy(ONE_HOST)) as home:
        assert [forward.internal.port for forward in reached(home)] == [9000]
        assert home.ports == {(TCP, 8000), (TCP, 8001)}
        assert len(home.decider.ledger.table) == 2
        (busy,) = [r for r in await home.store.decisions(RecordFilter(limit=100)) if r.verdict == "busy"]
        assert (busy.action, busy.mapping) == ("restore", "m1")
        assert "m1 of" in caplog.text


async def test_a_prefix_that_a_mapping_of_the_port_has_already(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await two_on_a_port(home, "203.0.113.0/25")
    async with gateway_fixture(tmp_path, policy(PREFIX)) as home:
        assert [forward.internal.port for forward in reached(home)] == [9000]


async def test_mappings_that_do_not_overlap_in_the_kernel_stay(tmp_path: Path) -> None:
    """A host goes before the prefix that it is in."""
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await two_on_a_port(home)
    async with gateway_fixture(tmp_path, policy(PREFIX)) as home:
        assert sorted(forward.internal.port for forward in reached(home)) == [8000, 9000]


async def test_prefixes_that_move_up_do_not_stand_in_their_own_way(tmp_path: Path) -> None:
    """Each part of a mapping has its number: the first is now for the hosts that the second was for."""
    before, after = ["192.0.2.0/24", "198.51.100.0/24"], ["198.51.100.0/24", "203.0.113.0/24"]
    async with reload_home(tmp_path, WIDE + f"remote = {before}\n") as home:
        await home.gateway_fixture.granted(8000)
        for prefixes in (after, before, [*before, *after[1:]], after[1:], after):
            home.file.write_text(WIDE + f"remote = {prefixes}\n")
            assert not (await home.policy_updates.reload()).revoked
            assert sorted(str(f.remote) for f, _ in home.gateway_fixture.firewall.installed.values()) == sorted(
                prefixes
            )


async def test_a_refresh_that_would_overlap_another_mapping_is_a_conflict(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await two_on_a_port(home)
        home.policy = policy(ONE_HOST)
        assert (await home.refused(8000, internal=8000)).refusal is Refusal.CONFLICT


async def test_a_renewal_that_would_overlap_another_mapping_ends_it(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000, internal=8000, lifetime=None)
        await home.granted(8000, internal=9000, remote="203.0.113.5", lifetime=None)
        home.policy = policy(ONE_HOST)
        home.clock.pass_s(3600)
        await home.sweep()
        assert [forward.internal.port for forward in reached(home)] == [9000]


async def test_everywhere_is_anyone(tmp_path: Path) -> None:
    """A grant for 0.0.0.0/0 has the slot of one for anyone, and takes its place in the kernel."""
    everywhere = WIDE + 'remote = ["0.0.0.0/0"]\n'
    async with gateway_fixture(tmp_path, policy(everywhere)) as home:
        await home.granted(8000)
        assert [forward.remote for forward in reached(home)] == [None]
        home.policy = policy(WIDE)
        assert (await home.refused(8000, internal=9000, remote="0.0.0.0/0")).refusal is Refusal.CONFLICT


# -- FILTERs come by datagram, and anybody on the LAN can send one


@pytest.mark.spec("SR-26")
async def test_a_forged_filter_does_not_narrow_a_mapping_held_over_tcp(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000)
        forged = await home.refused(8000, via=Via.PCP, nonce=NONCE, filters=FILTER)
        assert forged.refusal is Refusal.TOO_MANY_FILTERS
        assert reached(home, OTHER)
        assert not home.firewall.cuts
        await home.granted(8000, via=Via.PCP, nonce=NONCE)  # without one it is a lease like any other
        assert (
            await home.refused(8000, via=Via.PCP, nonce=NONCE, filters=FILTER)
        ).refusal is Refusal.TOO_MANY_FILTERS


@pytest.mark.spec("SR-26")
async def test_an_earlier_filter_does_not_narrow_a_request_over_tcp(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000, via=Via.PCP, nonce=NONCE, filters=FILTER, lifetime=7200)
        assert not reached(home, OTHER)
        await home.granted(8000, lifetime=3600)
        assert reached(home, OTHER)
        home.clock.pass_s(3601)  # the TCP lease is over; the sender of the FILTER was answered that it is in force
        await home.sweep()
        assert not reached(home, OTHER)
        assert reached(home, HOST)


async def test_a_mapping_that_a_filter_narrows_again_ends_on_overlap(tmp_path: Path) -> None:
    """While it was open to anyone another mapping got the host that its FILTER names."""
    for ends in (True, False):
        async with gateway_fixture(tmp_path / str(ends), policy(WIDE)) as home:
            await home.granted(8000, via=Via.PCP, nonce=NONCE, filters=FILTER, lifetime=7200)
            await home.granted(8000, lifetime=1800)
            await home.granted(8000, internal=9000, remote="203.0.113.5", lifetime=7200)
            if ends:
                home.clock.pass_s(1801)
                await home.sweep()
            else:
                assert isinstance(await home.unmap(8000), Removed)
            assert [forward.internal.port for forward in reached(home)] == [9000]
            assert len(home.decider.ledger.table) == 1
