"""A delete ends one lease: every pair of protocols (docs/decisions/0013), and a delete without a protocol."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_pinholes import CONSOLE_IP6, met, pinhole
from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP, GatewayFixture, gateway_fixture
from upnp_gw.model.mapping import Mapping, Transport, Via
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import (
    Granted,
    PortChoice,
    Refusal,
    Refused,
    ReleaseRequest,
    Removed,
    Reply,
    Source,
    UnmapPortRequest,
    UnmapRequest,
)

TCP, UDP = Transport.TCP, Transport.UDP
NONCE = b"n" * 12
PORT = 8080
WAYS = {"i": Via.IGD1, "n": Via.NATPMP, "p": Via.PCP, "o": Via.OPERATOR}
"""A letter for each protocol, so that the table can be read."""


def source(address: str = CONSOLE_IP) -> Source:
    return Source(ip_address(address), "lan0")


async def opened(home: GatewayFixture, letters: str) -> None:
    """One mapping of the console with a lease of each of these protocols, asked for in this order."""
    for letter in letters:
        via = WAYS[letter]
        choice = PortChoice.SUGGESTED if via.datagram else PortChoice.EXACT
        await home.granted(PORT, via=via, choice=choice, nonce=NONCE if via is Via.PCP else None)


async def deletes(home: GatewayFixture, letter: str, client: str = CONSOLE_IP) -> Reply:
    via = WAYS[letter]
    if not via.datagram:
        return await home.unmap(PORT, client, via=via)
    nonce = NONCE if via is Via.PCP else None
    asks = ReleaseRequest(via, source(client), TCP, ip_address(CONSOLE_IP), PORT, nonce)
    return await home.gateway.handle(asks)


def left(home: GatewayFixture) -> str:
    """The letters of the leases on the mapping; none: it is gone, from the firewall too."""
    rows = list(home.decider.ledger.table)
    assert bool(rows) == ((TCP, PORT) in home.ports)
    return "".join(letter for letter, via in WAYS.items() if rows and rows[0].hold_of(via.protocol))


REFUSED = "refused"
TABLE = [
    # leases      over IGD  NAT-PMP   PCP
    ("i", "", REFUSED, REFUSED),
    ("n", "", "", ""),
    ("p", "", REFUSED, ""),
    ("in", "n", "i", REFUSED),
    ("ip", "p", REFUSED, "i"),
    ("np", "", "p", "n"),
    ("inp", "np", "ip", "in"),
    ("o", REFUSED, REFUSED, REFUSED),
    ("io", "o", REFUSED, REFUSED),
    ("no", REFUSED, "o", REFUSED),
    ("po", REFUSED, REFUSED, "o"),
]
"""The leases that are left of a mapping after its own device deletes it; "" where the mapping is gone."""


@pytest.mark.spec("PCP-188")
@pytest.mark.parametrize(
    ("leases", "over", "expected"),
    [(leases, over, what) for leases, *after in TABLE for over, what in zip("inp", after, strict=True)],
)
async def test_every_pair_of_protocols(tmp_path: Path, leases: str, over: str, expected: str) -> None:
    async with gateway_fixture(tmp_path) as home:
        await opened(home, leases)
        assert sorted(left(home)) == sorted(leases)
        reply = await deletes(home, over)
        if expected == REFUSED:
            assert isinstance(reply, Refused)
            assert reply.refusal is Refusal.NOT_AUTHORIZED
            assert sorted(left(home)) == sorted(leases)
        else:
            assert isinstance(reply, Removed)
            assert sorted(left(home)) == sorted(expected)


@pytest.mark.spec("SR-25", "SR-26", "IGD-158")
@pytest.mark.parametrize("leases", ["i", "n", "p", "np"])
@pytest.mark.parametrize("over", "inp")
@pytest.mark.parametrize("visibility", ["own", "all"])
async def test_another_device_ends_none_of_them(tmp_path: Path, leases: str, over: str, visibility: str) -> None:
    """``visibility`` all: everybody may delete leases of IGD, but none of NAT-PMP or PCP."""
    async with gateway_fixture(tmp_path, visibility=visibility) as home:
        await opened(home, leases)
        reply = await deletes(home, over, PC_IP)
        if leases == "i" and over == "i" and visibility == "all":
            assert left(home) == ""
            return
        assert sorted(left(home)) == sorted(leases)
        assert isinstance(reply, Refused) or reply == Removed(())


async def test_a_port_range_ends_datagram_mappings_of_the_same_device(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await opened(home, "np")
        reply = await home.unmap_range(8000, 8100)
        assert isinstance(reply, Removed)
        assert left(home) == ""


async def test_a_pinhole_made_over_pcp_is_deleted_over_igd(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        met(home)
        reply = await home.granted(PORT, CONSOLE_IP6, via=Via.PCP, choice=PortChoice.SUGGESTED, nonce=NONCE)
        key = reply.mapping.key
        for delete in (UnmapRequest(Via.IGD2, source(CONSOLE_IP6), key), UnmapRequest(Via.IGD2, source(), key)):
            await home.granted(PORT, CONSOLE_IP6, via=Via.PCP, choice=PortChoice.SUGGESTED, nonce=NONCE)
            assert isinstance(await home.gateway.handle(delete), Removed)
            assert not len(home.decider.ledger.table)


async def test_a_pinhole_held_over_both_loses_the_lease_of_igd(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        met(home)
        await home.granted(PORT, CONSOLE_IP6, via=Via.PCP, choice=PortChoice.SUGGESTED, nonce=NONCE)
        reply = await home.gateway.handle(pinhole(PORT))
        assert isinstance(reply, Granted)
        delete = UnmapRequest(Via.IGD2, source(CONSOLE_IP6), reply.mapping.key)
        assert isinstance(await home.gateway.handle(delete), Removed)
        (row,) = home.decider.ledger.table
        assert [hold.via for hold in row.holds] == [Via.PCP]


async def test_the_audit_log_has_the_reason_for_the_end_of_another_protocols_lease(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await opened(home, "n")
        await deletes(home, "i")
        (record,) = [r for r in await home.store.decisions(RecordFilter(devices=(CONSOLE,))) if r.action == "unmap"]
        assert (record.verdict, record.rule) == ("allow", "own")
        assert record.reasons == ("the device made it over NAT-PMP or PCP and deletes it over TCP",)


# -- DeletePortMapping with an empty NewProtocol (nat-port-mapper)


async def without_protocol(home: GatewayFixture, client: str = CONSOLE_IP, port: int = PORT, **more: Any) -> Reply:
    return await home.gateway.handle(UnmapPortRequest(Via.IGD2, source(client), port, **more))


def mappings_of(home: GatewayFixture) -> list[Mapping]:
    return list(home.decider.ledger.table)


@pytest.mark.spec("SR-15", "SR-25")
async def test_without_a_protocol_both_transports_end(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        for transport in Transport:
            await home.granted(PORT, transport=transport)
        await home.granted(PORT + 1)
        reply = await without_protocol(home)
        assert isinstance(reply, Removed)
        assert {mapping.key.transport for mapping in reply.mappings} == {TCP, UDP}
        assert home.ports == {(TCP, PORT + 1)}
        again = await without_protocol(home)
        assert isinstance(again, Refused)
        assert again.refusal is Refusal.NO_SUCH


@pytest.mark.spec("SR-15", "SR-25")
@pytest.mark.parametrize("visibility", ["own", "all"])
async def test_without_a_protocol_another_devices_mapping_stays(tmp_path: Path, visibility: str) -> None:
    """Also where everybody may delete everything that they name."""
    async with gateway_fixture(tmp_path, visibility=visibility) as home:
        await home.granted(PORT, transport=TCP)
        await home.granted(PORT, PC_IP, transport=UDP)
        await home.granted(PORT + 1, PC_IP)
        assert isinstance(await without_protocol(home), Removed)
        assert home.ports == {(UDP, PORT), (TCP, PORT + 1)}
        for port in (PORT, PORT + 1):
            denied = await without_protocol(home, port=port)
            assert isinstance(denied, Refused)
            assert denied.refusal is Refusal.NOT_AUTHORIZED
            assert denied.decision is not None, "it is in the audit log"
        assert home.ports == {(UDP, PORT), (TCP, PORT + 1)}


async def test_without_a_protocol_the_remote_host_counts(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(PORT, remote="203.0.113.9/32")
        reply = await without_protocol(home)
        assert isinstance(reply, Refused)
        assert reply.refusal is Refusal.NO_SUCH


async def test_without_a_protocol_a_lease_of_another_protocol_stays_beside(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await opened(home, "in")
        await home.granted(PORT, transport=UDP)
        assert isinstance(await without_protocol(home), Removed)
        assert left(home) == "n"
        assert home.ports == {(TCP, PORT)}
