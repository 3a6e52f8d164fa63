"""The WAN, restarts, events, IPv6 pinholes, and wrong values of NAT-PMP and PCP."""

from typing import Any

import pytest
from async_upnp_client.exceptions import UpnpError

from tests.fixtures.waiting import async_until
from tests.testing.catalogue.cases import shows
from tests.testing.catalogue.clients import (
    NONCE,
    ControlPoint,
    code_of,
    natpmp_answer,
    pcp_answer,
    pcp_bytes,
    subscribed,
)
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing import Emulator


async def told_address(igd: Emulator) -> str:
    """The external address of NAT-PMP; empty: there is none."""
    answer = natpmp.parse_response(await natpmp_answer(igd))
    assert isinstance(answer, natpmp.AddressResponse)
    return str(answer.address) if answer.result is natpmp.NatPmpResult.SUCCESS else ""


async def changes_the_address(name: str, expected: str, **parameters: Any) -> None:
    with Emulator() as igd:
        before = igd.external_address
        point = await ControlPoint.at(igd.location)
        with igd.fault(name, **parameters):
            assert await point.external_address() == expected
            assert await told_address(igd) == expected
        assert await point.external_address() == before


@shows("wan-down")
async def wan_down() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        with igd.fault("wan-down"):
            assert (await point.status(), await point.external_address()) == ("Disconnected", "")
        assert (await point.status(), await point.external_address()) == ("Connected", igd.external_address)


@shows("external-address")
async def external_address() -> None:
    await changes_the_address("external-address", "9.9.9.9", address="9.9.9.9")
    with Emulator() as igd, pytest.raises(ValueError, match=r"1\.2\.3"):
        igd.fault("external-address", address="1.2.3")


@shows("private-external-address")
async def private_external_address() -> None:
    await changes_the_address("private-external-address", "192.168.1.7")


@shows("shared-external-address")
async def shared_external_address() -> None:
    await changes_the_address("shared-external-address", "100.64.0.7")


@shows("no-external-address")
async def no_external_address() -> None:
    await changes_the_address("no-external-address", "")


@shows("unspecified-external-address")
async def unspecified_external_address() -> None:
    await changes_the_address("unspecified-external-address", "0.0.0.0")


@shows("reboot")
async def reboot() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        igd.advance(minutes=10)
        before = igd.location, igd.control_url("WANIPConnection")
        igd.fault("reboot", keep_mappings=True, new_urls=False)
        assert (igd.location, igd.control_url("WANIPConnection")) == before
        assert await point.listed() == [8080]
        assert (await pcp_answer(igd, 7000)).epoch_s <= 5
        igd.fault("reboot", new_urls=False)
        assert igd.control_url("WANIPConnection") == before[1]
        assert await point.listed() == []
        igd.fault("reboot", keep_mappings=True, new_urls=True)
        assert igd.control_url("WANIPConnection") != before[1]
        with pytest.raises(UpnpError):
            await point.add(8080)
        igd.fault("reboot", new_port=True)
        assert igd.location != before[0]
        await (await ControlPoint.at(igd.location)).add(8080)


@shows("event-lost")
async def event_lost() -> None:
    with Emulator() as igd:
        async with subscribed(igd) as subscriber:
            await async_until(lambda: len(subscriber.addresses) == 1)
            igd.fault("event-lost", times=1)
            igd.change_wan(external_address="9.9.9.9")
            await async_until(lambda: bool(igd.events.find(outcome="lost")))
            igd.change_wan(external_address="9.9.9.10")
            await async_until(lambda: "9.9.9.10" in subscriber.addresses)
            assert "9.9.9.9" not in subscriber.addresses


@shows("event-twice")
async def event_twice() -> None:
    with Emulator() as igd:
        async with subscribed(igd) as subscriber:
            await async_until(lambda: len(subscriber.addresses) == 1)
            igd.fault("event-twice")
            igd.change_wan(external_address="9.9.9.9")
            await async_until(lambda: subscriber.addresses[1:] == ["9.9.9.9", "9.9.9.9"])


@shows("events-out-of-order")
async def events_out_of_order() -> None:
    with Emulator() as igd:
        async with subscribed(igd) as subscriber:
            await async_until(lambda: len(subscriber.addresses) == 1)
            igd.fault("events-out-of-order")
            igd.change_wan(external_address="9.9.9.9")
            await async_until(lambda: bool(igd.events.find(outcome="lost")))
            igd.change_wan(external_address="9.9.9.10")
            await async_until(lambda: subscriber.addresses[1:] == ["9.9.9.10", "9.9.9.9"])


@shows("stale-event")
async def stale_event() -> None:
    with Emulator() as igd:
        first = igd.external_address
        igd.fault("stale-event")
        async with subscribed(igd) as subscriber:
            await async_until(lambda: subscriber.addresses == [first])
            igd.change_wan(external_address="9.9.9.9")
            await async_until(lambda: subscriber.addresses == [first, first])


@shows("same-seq")
async def same_seq() -> None:
    with Emulator() as igd:
        igd.fault("same-seq")
        async with subscribed(igd):
            await async_until(lambda: bool(igd.events.find(seq=0)))
            igd.change_wan(external_address="9.9.9.9")
            await async_until(lambda: any("9.9.9.9" in str(event) for event in igd.events))
            assert {event.seq for event in igd.events} == {0}


@shows("wrong-nonce")
async def wrong_nonce() -> None:
    with Emulator() as igd:
        igd.fault("wrong-nonce", times=1)
        answers = [await pcp_answer(igd, 7000), await pcp_answer(igd, 7000)]
        assert [answer.map is not None and answer.map.nonce == NONCE for answer in answers] == [False, True]


@shows("forgotten-nonce")
async def forgotten_nonce() -> None:
    with Emulator() as igd:
        igd.fault("forgotten-nonce")
        first, renewal = await pcp_bytes(igd, 7000), await pcp_bytes(igd, 7000)
        assert first[24:36] == renewal[24:36] == NONCE
        results = [pcp.parse_response(data).result for data in (first, renewal)]
        assert results == [ResultCode.SUCCESS, ResultCode.NOT_AUTHORIZED]


@shows("epoch-backwards")
async def epoch_backwards() -> None:
    with Emulator() as igd:
        igd.fault("epoch-backwards")
        epochs = [(await pcp_answer(igd, 7000)).epoch_s for _ in range(3)]
        assert epochs == [1_000_000, 999_000, 998_000]
        assert int.from_bytes((await natpmp_answer(igd))[4:8]) == 997_000


@shows("epoch-ahead")
async def epoch_ahead() -> None:
    with Emulator() as igd:
        igd.fault("epoch-ahead", seconds=1_000_000)
        assert 1_000_000 <= (await pcp_answer(igd, 7000)).epoch_s <= 1_000_010
        assert int.from_bytes((await natpmp_answer(igd, 7001))[4:8]) >= 1_000_000


@shows("pcp-version-1-only")
async def pcp_version_1_only() -> None:
    with Emulator() as igd:
        igd.fault("pcp-version-1-only")
        answer = await pcp_answer(igd, 7000)
        assert (answer.result, answer.version) == (ResultCode.UNSUPP_VERSION, 1)
        assert not igd.mappings


@shows("natpmp-with-pcp-version")
async def natpmp_with_pcp_version() -> None:
    with Emulator() as igd:
        igd.fault("natpmp-with-pcp-version")
        assert (await natpmp_answer(igd))[:2] == b"\x02\x80"


@shows("natpmp-ports-truncated")
async def natpmp_ports_truncated() -> None:
    with Emulator() as igd:
        igd.fault("natpmp-ports-truncated")
        answer = natpmp.parse_response(await natpmp_answer(igd, 22002, 28174))
        assert isinstance(answer, natpmp.MappingResponse)
        assert (answer.internal_port, answer.external_port) == (242, 14)
        assert igd.mappings.one().external_port == 28174


async def add_pinhole(point: ControlPoint) -> int:
    arguments: dict[str, Any] = {
        "RemoteHost": "",
        "RemotePort": 0,
        "InternalClient": "::1",
        "InternalPort": 8443,
        "Protocol": 6,
        "LeaseTime": 3600,
    }
    return int((await point.call("AddPinhole", **arguments))["UniqueID"])


@shows("ipv6-firewall-disabled")
async def ipv6_firewall_disabled() -> None:
    with Emulator(ipv6=True) as igd:
        point = await ControlPoint.at(igd.location_ipv6)
        with igd.fault("ipv6-firewall-disabled"):
            assert (await point.call("GetFirewallStatus"))["FirewallEnabled"] is False
            assert await code_of(add_pinhole(point)) == 702
        await add_pinhole(point)


@shows("pinholes-not-allowed")
async def pinholes_not_allowed() -> None:
    with Emulator(ipv6=True) as igd:
        point = await ControlPoint.at(igd.location_ipv6)
        with igd.fault("pinholes-not-allowed"):
            assert (await point.call("GetFirewallStatus"))["InboundPinholeAllowed"] is False
            assert await code_of(add_pinhole(point)) == 703
        await add_pinhole(point)


@shows("pinholes-gone")
async def pinholes_gone() -> None:
    with Emulator(ipv6=True) as igd:
        point = await ControlPoint.at(igd.location_ipv6)
        unique_id = await add_pinhole(point)
        await (await ControlPoint.at(igd.location)).add(8080)
        igd.fault("pinholes-gone")
        assert not igd.pinholes
        assert len(igd.mappings) == 1
        assert await code_of(point.call("UpdatePinhole", UniqueID=unique_id, NewLeaseTime=3600)) == 704
