"""The emulator as the author of a client uses it: the example of its documentation, with a real client."""

import asyncio
import http.client
import re
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

import pytest
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError, UpnpError
from async_upnp_client.profiles.igd import IgdDevice

from tests import ROOT
from upnp_gw.ledger.events import Event, TableChanged
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pcp.messages import MapData, Opcode, Request, ResultCode
from upnp_gw.testing import Emulator
from upnp_gw.testing.options import EmulatorOptions, Options

PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")
OPTIONS = PAGE.partition("| option |")[2].partition("\n\n")[0]
CLIENT, ANYONE = IPv4Address("127.0.0.1"), IPv4Address("0.0.0.0")


@pytest.fixture
def igd() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@asynccontextmanager
async def device(igd: Emulator) -> AsyncIterator[IgdDevice]:
    requester = AiohttpRequester()
    yield IgdDevice(await UpnpFactory(requester).async_create_device(igd.location), None)


async def map_port(found: IgdDevice, port: int, external: int | None = None, lease_s: int = 3600) -> None:
    await found.async_add_port_mapping(
        remote_host=ANYONE,
        external_port=external or port,
        protocol="TCP",
        internal_port=port,
        internal_client=CLIENT,
        enabled=True,
        description="my client",
        lease_duration=timedelta(seconds=lease_s),
    )


async def map_a_free_port(igd: Emulator, port: int) -> int:
    """A client that tries the next port after a conflict."""
    async with device(igd) as found:
        for external in range(port, port + 3):
            try:
                await map_port(found, port, external)
            except UpnpActionError as error:
                if error.error_code != 718:
                    raise
            else:
                return external
    raise AssertionError("no port")


def test_retries_on_conflict(igd: Emulator) -> None:
    igd.answer("AddPortMapping", error=718, times=1)
    assert asyncio.run(map_a_free_port(igd, 8080)) == 8081
    [first, second] = igd.requests.of("AddPortMapping")
    assert first.error == 718
    assert second.arguments["NewExternalPort"] == "8081"
    assert igd.mappings.one(external_port=8081).lease_s == 3600
    igd.advance(hours=1)
    assert not igd.mappings


async def test_an_asynchronous_test_uses_it_from_its_own_loop() -> None:
    async with Emulator(external_address="9.9.9.9") as igd, device(igd) as found:
        assert await found.async_get_external_ip_address() == "9.9.9.9"
        await map_port(found, 8080, lease_s=600)
        await igd.advance(minutes=9, seconds=59)
        assert igd.mappings.one(internal_port=8080, internal_client=CLIENT, transport="tcp").left_s == 1
        await map_port(found, 8080, lease_s=7200)
        await igd.advance(hours=1)
        held = igd.mappings.one()
        assert (held.lease_s, held.via, held.description) == (7200, "igd2", "my client")
        assert 3590 <= held.left_s <= 3600


def test_leases_end_in_their_order_and_one_that_is_renewed_stays(igd: Emulator) -> None:
    async def map_them() -> None:
        async with device(igd) as found:
            for port, lease_s in ((7001, 600), (7002, 1200), (7003, 86399)):
                await map_port(found, port, lease_s=lease_s)

    asyncio.run(map_them())
    igd.advance(minutes=11)
    assert [held.external_port for held in igd.mappings] == [7002, 7003]
    igd.advance(hours=23, minutes=48)
    assert [held.external_port for held in igd.mappings] == [7003]
    igd.advance(minutes=2)
    assert not igd.mappings


async def test_each_lease_ends_at_its_own_time_on_the_way() -> None:
    async with Emulator() as igd, device(igd) as found:
        for port, lease_s in ((7002, 1200), (7001, 600), (7003, 1800)):
            await map_port(found, port, lease_s=lease_s)
        gateway, ended = igd._running, list[tuple[int, float]]()
        began = gateway.clock.monotonic()

        def note(event: Event) -> None:
            removed = event.removed if isinstance(event, TableChanged) else ()
            passed_s = gateway.clock.monotonic() - began
            ended.extend((mapping.key.external_port, round(passed_s, 3)) for mapping, _ in removed)

        gateway._events.subscribe(note)
        await igd.advance(hours=2)
        assert ended == [(7001, 600), (7002, 1200), (7003, 1800)]


def test_each_request_of_a_kept_connection_has_its_own_bytes(igd: Emulator) -> None:
    url = urlsplit(igd.location)
    connection = http.client.HTTPConnection(url.netloc, timeout=5)
    for path in (url.path, "/igd1.xml", "/missing.xml"):
        connection.request("GET", path)
        connection.getresponse().read()
    connection.close()
    lines = [request.received.split(b"\r\n")[0].decode() for request in igd.requests]
    assert lines == [f"GET {path} HTTP/1.1" for path in ("/igd2.xml", "/igd1.xml", "/missing.xml")]
    assert [request.sent.split(b" ")[1] for request in igd.requests] == [b"200", b"200", b"404"]
    assert all(request.received.count(b"HTTP/1.1") == 1 for request in igd.requests)


async def test_a_rule_answers_with_an_error_name_values_or_by_a_function(igd: Emulator) -> None:
    async with device(igd) as found:
        with igd.answer("GetExternalIPAddress", values={"NewExternalIPAddress": "100.64.0.7"}):
            assert await found.async_get_external_ip_address() == "100.64.0.7"
        assert await found.async_get_external_ip_address() == igd.external_address
        igd.answer("AddPortMapping", error="OnlyPermanentLeasesSupported")
        with pytest.raises(UpnpActionError) as refused:
            await map_port(found, 8080)
        assert refused.value.error_code == 725
        igd.reset()
        igd.answer("AddPortMapping", lambda request: 718 if request.arguments["NewExternalPort"] == "1" else None)
        await map_port(found, 8080)
        with pytest.raises(UpnpActionError):
            await map_port(found, 8081, external=1)


async def test_a_rule_strikes_before_the_change_or_after_it(igd: Emulator) -> None:
    async with device(igd) as found:
        igd.answer("AddPortMapping", error=501, times=1)
        with pytest.raises(UpnpActionError):
            await map_port(found, 8080)
        assert not igd.mappings
        igd.answer("AddPortMapping", error=501, times=1, after=True)
        with pytest.raises(UpnpActionError):
            await map_port(found, 8080)
        assert igd.mappings.one().external_port == 8080


async def test_the_journal_has_the_bytes_of_both_sides(igd: Emulator) -> None:
    async with device(igd) as found:
        await map_port(found, 8080)
    [asked] = igd.requests.of("AddPortMapping")
    assert asked.received.startswith(b"POST /")
    assert asked.received.endswith(b"</s:Envelope>")
    assert asked.sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"AddPortMappingResponse" in asked.sent
    assert (asked.protocol, asked.client, asked.error) == ("igd2", "127.0.0.1", None)
    documents = igd.requests.of("GET")
    assert documents[0].arguments["path"] == "/igd2.xml"
    assert all(request.received.count(b"HTTP/1.1") == 1 for request in igd.requests)


def ask(igd: Emulator, data: bytes, port: int = 5351) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(data, (igd.gateway_address, port))
        answer, sender = sock.recvfrom(2048)
        assert sender == (igd.gateway_address, port)
        return answer


def pcp_map(port: int, lifetime_s: int = 3600) -> bytes:
    data = MapData(b"n" * 12, 6, port, port, IPv4Address(0))
    return pcp.build_request(Request(lifetime_s, CLIENT, data))


def test_natpmp_and_pcp_have_their_own_answers_and_rules(igd: Emulator) -> None:
    assert igd.pcp_address == (igd.gateway_address, 5351)
    address = natpmp.parse_response(ask(igd, natpmp.build_request(natpmp.AddressRequest())))
    assert isinstance(address, natpmp.AddressResponse)
    assert str(address.address) == igd.external_address
    rule = igd.answer("natpmp.address", error="NETWORK_FAILURE")
    failed = natpmp.parse_response(ask(igd, natpmp.build_request(natpmp.AddressRequest())))
    assert isinstance(failed, natpmp.AddressResponse)
    assert failed.result is natpmp.NatPmpResult.NETWORK_FAILURE
    rule.remove()
    igd.answer("pcp.map", error="NO_RESOURCES", times=1)
    refused = pcp.parse_response(ask(igd, pcp_map(7000)))
    assert (refused.result, refused.opcode) == (ResultCode.NO_RESOURCES, Opcode.MAP)
    assert not igd.mappings
    igd.answer("pcp.map", error="NETWORK_FAILURE", times=1, after=True)
    assert pcp.parse_response(ask(igd, pcp_map(7000))).result is ResultCode.NETWORK_FAILURE
    assert igd.mappings.one(via="pcp").external_port == 7000
    epoch_s = pcp.parse_response(ask(igd, pcp_map(7000))).epoch_s
    igd.advance(seconds=600)
    assert 600 <= pcp.parse_response(ask(igd, pcp_map(7000))).epoch_s - epoch_s <= 605
    asked = igd.requests.of("pcp.map")
    assert [request.error for request in asked] == [8, 7, None, None]
    assert asked[0].arguments["internal_port"] == "7000"
    assert asked[0].received == pcp_map(7000)
    assert len(asked[-1].sent) == 60


async def test_the_wan_changes_as_a_client_sees_it(igd: Emulator) -> None:
    async with device(igd) as found:
        await map_port(found, 8080)
        epoch_s = pcp.parse_response(ask(igd, pcp_map(7000))).epoch_s
        igd.advance(minutes=5)
        igd.change_wan(external_address="192.168.1.7")
        assert igd.external_address == "192.168.1.7"
        assert await found.async_get_external_ip_address() == "192.168.1.7"
        answer = pcp.parse_response(ask(igd, pcp_map(7000)))
        assert answer.epoch_s <= epoch_s + 5, "a new epoch began"
        assert answer.map is not None
        assert str(answer.map.external_address) == "192.168.1.7"
        assert len(igd.mappings) == 2
        igd.change_wan(up=False)
        status = await found.async_get_status_info()
        assert status is not None
        assert status.connection_status == "Disconnected"
        igd.change_wan(up=True, external_address="")
        assert igd.external_address == ""
        address = natpmp.parse_response(ask(igd, natpmp.build_request(natpmp.AddressRequest())))
        assert isinstance(address, natpmp.AddressResponse)
        assert address.result is natpmp.NatPmpResult.NETWORK_FAILURE
        with pytest.raises(ValueError, match=r"1\.2\.3"):
            igd.change_wan(external_address="1.2.3")


async def test_a_reboot_loses_mappings_and_control_urls_or_keeps_them(igd: Emulator) -> None:
    location, control_url = igd.location, igd.control_url("WANIPConnection")
    async with device(igd) as found:
        await map_port(found, 8080)
        igd.advance(minutes=10)
        igd.reboot(keep_mappings=True)
        assert (igd.location, igd.control_url("WANIPConnection")) == (location, control_url)
        held = igd.mappings.one(external_port=8080)
        assert (held.lease_s, held.left_s > 2980) == (3600, True)
        await map_port(found, 8080)
        assert pcp.parse_response(ask(igd, pcp_map(7000))).epoch_s <= 5
        igd.answer("AddPortMapping", error=718)
        igd.reboot()
        assert igd.location == location
        assert igd.control_url("WANIPConnection") != control_url
        assert not igd.mappings
        with pytest.raises(UpnpError):
            await map_port(found, 8080)
    async with device(igd) as found:
        with pytest.raises(UpnpActionError):
            await map_port(found, 8080)
    assert len(igd.requests.of("AddPortMapping")) == 3, "the journal and the rules stay"


def test_a_search_to_its_address_finds_it(igd: Emulator) -> None:
    search = (
        f"M-SEARCH * HTTP/1.1\r\nHOST: {igd.gateway_address}:1900\r\n"
        'MAN: "ssdp:discover"\r\nST: upnp:rootdevice\r\n\r\n'
    )
    answer = ask(igd, search.encode(), 1900).decode()
    assert igd.location_v1 in answer or igd.location_v2 in answer
    assert igd.requests.of("M-SEARCH")[0].arguments == {"ST": "upnp:rootdevice"}


@pytest.mark.parametrize("multicast", [True, False])
def test_a_client_that_searches_on_the_loopback_finds_it_where_the_test_wants_it(multicast: bool) -> None:
    with Emulator(multicast=multicast) as igd, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        search = (
            "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
            'MAN: "ssdp:discover"\r\nMX: 1\r\nST: urn:schemas-upnp-org:service:WANIPConnection:1\r\n\r\n'
        )
        sock.sendto(search.encode(), ("239.255.255.250", 1900))
        found = set()
        sock.settimeout(10 if multicast else 0.5)
        with suppress(TimeoutError):
            while igd.gateway_address not in found:
                answer, sender = sock.recvfrom(2048)
                found.add(sender[0])
                if sender[0] == igd.gateway_address:
                    assert igd.location_v1 in answer.decode()
        assert (igd.gateway_address in found) is multicast
        assert len(igd.requests.of("M-SEARCH")) == multicast


async def test_many_run_beside_each_other() -> None:
    with Emulator() as other:
        async with Emulator() as one, device(one) as of_one:
            await map_port(of_one, 8080)
            assert len(one.mappings) == 1
            assert not other.mappings
            assert pcp.parse_response(ask(other, pcp_map(7000))).result is ResultCode.SUCCESS
            assert one.gateway_address != other.gateway_address


async def test_without_nat_a_mapping_is_a_pinhole() -> None:
    async with Emulator(nat=False) as igd, device(igd) as found:
        await map_port(found, 8080)
        assert igd.pinholes.one().external_port == 8080
        assert not igd.mappings


async def test_pinholes_over_ipv6() -> None:
    async with Emulator(ipv6=True) as igd, Emulator(ipv6=True) as other:
        assert other.location_ipv6 != igd.location_ipv6
        found = IgdDevice(await UpnpFactory(AiohttpRequester()).async_create_device(igd.location_ipv6), None)
        loopback = IPv6Address("::1")
        pinhole = await found.async_add_pinhole(IPv6Address(0), 0, loopback, 8443, 6, timedelta(hours=1))
        held = igd.pinholes.one(internal_client=loopback, external_port=8443)
        assert (held.lease_s, held.transport, held.via) == (3600, "tcp", "igd2")
        assert not igd.mappings
        assert igd.requests.of("AddPinhole").one().client == "::1"
        assert isinstance(pinhole, int)
        await igd.advance(hours=1)
        assert not igd.pinholes
    with Emulator() as without, pytest.raises(RuntimeError, match="ipv6=True"):
        _ = without.location_ipv6


async def test_the_real_gate_decides_by_a_policy_of_the_test() -> None:
    async with Emulator(policy='version = 1\ndefault = "deny"\n') as igd, device(igd) as found:
        with pytest.raises(UpnpActionError) as refused:
            await map_port(found, 8080)
        assert refused.value.error_code == 606


def test_a_router_of_one_version_or_without_pcp() -> None:
    with Emulator(versions=(1,), pcp=False) as igd:
        assert igd.location == igd.location_v1
        assert urllib.request.urlopen(igd.location).status == 200
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(igd.location_v2)
        answer = ask(igd, pcp_map(7000))
        assert (answer[0], answer[3]) == (0, natpmp.NatPmpResult.UNSUPPORTED_VERSION)
    with Emulator(versions=(2,), natpmp=False) as igd:
        assert igd.location == igd.location_v2
        assert pcp.parse_response(ask(igd, pcp_map(7000))).result is ResultCode.SUCCESS
        answer = ask(igd, natpmp.build_request(natpmp.AddressRequest()))
        assert pcp.parse_response(answer + bytes(-len(answer) % 4)).result is ResultCode.UNSUPP_VERSION
    with pytest.raises(ValueError, match="versions must be"):
        Emulator(versions=(3,))


async def test_the_journal_has_the_errors_of_the_gateway_too(igd: Emulator) -> None:
    async with device(igd) as found:
        with pytest.raises(UpnpActionError):
            await map_port(found, 22, 2222)
    assert igd.requests.of("AddPortMapping").one().error == 606
    assert pcp.parse_response(ask(igd, pcp_map(22))).result is ResultCode.NOT_AUTHORIZED
    assert igd.requests.of("pcp.map").one().error == ResultCode.NOT_AUTHORIZED


def test_a_failing_assertion_says_what_arrived(igd: Emulator) -> None:
    asyncio.run(map_a_free_port(igd, 8080))
    text = repr(igd.requests.of("DeletePortMapping"))
    assert text.startswith("no request of DeletePortMapping. Instead:\n  http GET(path=/igd2.xml) from")
    assert "igd2 AddPortMapping(NewRemoteHost=0.0.0.0, NewExternalPort=8080" in text
    with pytest.raises(AssertionError, match=r"no port mapping with external_port=1\. Instead:\n  tcp 8080 to"):
        igd.mappings.one(external_port=1)
    with pytest.raises(TypeError, match="no port; did you mean external_port or internal_port"):
        igd.mappings.find(port=8080)


def test_an_emulator_says_where_it_is(igd: Emulator) -> None:
    assert repr(igd) == f"<Emulator {igd.location}>"
    assert repr(Emulator()) == "<Emulator that is not ready>"
    with Emulator(versions=(1,)) as old:
        assert "/igd1/" in old.control_url("WANIPConnection")
        with pytest.raises(ValueError, match="no version 2"):
            old.control_url("WANIPConnection", 2)


def test_mistakes_of_a_test_are_errors_at_once(igd: Emulator) -> None:
    with pytest.raises(ValueError, match="no action 'AddPortMaping'; did you mean 'AddPortMapping'"):
        igd.answer("AddPortMaping", error=718)
    with pytest.raises(ValueError, match="no error 'Conflict'"):
        igd.answer("AddPortMapping", error="Conflict")
    with pytest.raises(ValueError, match="give one of reply, error and values"):
        igd.answer("AddPortMapping")
    with pytest.raises(ValueError, match="times must be 1 or more"):
        igd.answer("AddPortMapping", error=718, times=0)
    with pytest.raises(ValueError, match="time does not go back"):
        igd.advance(seconds=-1)
    with pytest.raises(TypeError, match="an emulator has no option nats; did you mean nat"):
        Emulator(nats=True)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="external_address must be an IPv4 address as text, or empty, not"):
        Emulator(external_address="1.2")
    with pytest.raises(ValueError, match="visibility must be 'own' or 'all', not 'any'"):
        Emulator(visibility="any")
    with pytest.raises(ValueError, match="has no service"):
        igd.control_url("WANIPv6FirewallControl", version=1)


def test_a_policy_with_mistakes_is_an_error_of_the_start() -> None:
    emulator = Emulator(policy="version = 2")
    with pytest.raises(Exception, match="version"):
        emulator.start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = emulator.location


def test_its_options_are_those_of_the_page() -> None:
    assert Options.__annotations__ == EmulatorOptions.__annotations__
    assert set(EmulatorOptions.__dataclass_fields__) == set(re.findall(r"^\| `(\w+)` \|", OPTIONS, re.MULTILINE))
