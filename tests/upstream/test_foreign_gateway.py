"""The client against a gateway above that answers whatever it likes: nothing is believed that cannot be, nothing
waits longer than its time, nothing goes to another host. On the loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
import uvloop

from tests.fixtures.foreign_answers import (
    ELSEWHERE,
    GRANTED,
    WRONG_DESCRIPTIONS,
    asked,
    granted,
    igd_answer,
    igd_server,
    natpmp_server,
    pcp_server,
    search_answer,
    silent_after_the_description,
)
from tests.fixtures.gateway_above import (
    EVERY,
    NONCE,
    OUTSIDE,
    OWN,
    PINHOLE,
    REQUEST,
    ForeignGateway,
    SeenEvents,
    asking,
    http_answer,
    network_of,
)
from tests.fixtures.waiting import async_until
from tests.protocols.igd.test_foreign_gateway import envelope
from upnp_gw.model.above import AboveGranted, AboveRefused, AboveSilent
from upnp_gw.model.mapping import Endpoint, Via
from upnp_gw.model.request import Refusal
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.codec import build_error, build_response
from upnp_gw.protocols.pcp.messages import PreferFailure, Request, Response, ResultCode
from upnp_gw.protocols.ssdp.foreign import ROOT
from upnp_gw.system.clock import clock
from upnp_gw.upstream import GatewayAboveClient

ABOVE = IPv4Address("127.0.80.1")
OTHER = ELSEWHERE
"""Another host of the WAN link."""
BRIEF_S = 0.3
LONG_S = 10.0
"""Of an answer that comes at once, also on a busy machine."""
PCP, NATPMP, IGD = (Via.PCP,), (Via.NATPMP,), (Via.IGD2,)
OTHER_NONCE = b"x" * 12


@pytest.fixture
async def above() -> AsyncIterator[ForeignGateway]:
    gateway = ForeignGateway(ABOVE)
    await gateway.open()
    yield gateway
    await gateway.close()


def maps(gateway: ForeignGateway) -> list[Request]:
    """The MAP requests that came."""
    return [request for data in gateway.datagrams if data[:1] == b"\2" and (request := asked(data)).map]


# -- PCP


@pytest.mark.spec("CAS-004", "CAS-005")
async def test_a_granted_mapping_and_its_release(above: ForeignGateway) -> None:
    above.on_datagram = pcp_server(lambda request: [granted(request)])
    async with asking(ABOVE) as (client, events):
        found = await client.ask(REQUEST, LONG_S)
        assert found == AboveGranted(Via.PCP, ABOVE, GRANTED, 1800)
        assert above.peer is not None
        assert above.peer[0] == str(OWN), "the source is our WAN address"
        assert client.state().via is Via.PCP
        assert client.state().external == OUTSIDE
        assert client.state().answers_since is not None
        assert await client.release(replace(REQUEST, via=Via.PCP, external=GRANTED), LONG_S) is None
        assert [request.lifetime_s for request in maps(above)] == [3600, 0]
        assert {request.map.nonce for request in maps(above) if request.map} == {NONCE}
    assert (events.losses, events.externals, events.updates) == (0, [], [])


async def test_a_lost_datagram_is_sent_again(above: ForeignGateway) -> None:
    lost = iter((True, True, False))
    above.on_datagram = pcp_server(lambda request: [] if next(lost) else [granted(request)])
    async with asking(ABOVE, PCP) as (client, _):
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
    sent = [data for data in above.datagrams if asked(data).map]
    assert len(sent) == 3
    assert len(set(sent)) == 1, "the same bytes"


@pytest.mark.spec("CAS-023")
@pytest.mark.parametrize(
    "answers",
    [
        lambda request: [granted(request, nonce=OTHER_NONCE)],
        lambda request: [b"", b"\2", bytes(60), bytes(1100), granted(request)[:40]],
        lambda request: [granted(request, lifetime_s=0)],
    ],
    ids=["nonce", "bytes", "lifetime 0"],
)
@pytest.mark.spec("CAS-015")
async def test_an_answer_that_is_none_ends_as_silence_in_time(
    above: ForeignGateway, answers: Callable[[Request], Iterable[bytes]]
) -> None:
    above.on_datagram = pcp_server(answers)
    async with asking(ABOVE, PCP) as (client, _):
        began = time.monotonic()
        found = await client.ask(REQUEST, BRIEF_S)
        assert found == AboveSilent(ABOVE, f"the gateway above at {ABOVE} cannot be asked: it does not answer")
        assert BRIEF_S <= time.monotonic() - began < LONG_S
        state = client.state()
        assert state.silent_since is not None
        assert state.problem == found.reason


@pytest.mark.spec("CAS-023")
async def test_an_answer_of_another_host_or_port_is_ignored(above: ForeignGateway) -> None:
    """Another host of the link knows everything about the request but its way."""

    def forged(request: Request) -> Iterable[bytes]:
        for address, port in ((OTHER, 5351), (ABOVE, 0)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((str(address), port))
                assert above.peer is not None
                sock.sendto(granted(request), above.peer)
        return ()

    above.on_datagram = pcp_server(forged)
    async with asking(ABOVE, PCP) as (client, _):
        assert isinstance(await client.ask(REQUEST, BRIEF_S), AboveSilent)
    assert maps(above)


@pytest.mark.parametrize(
    ("external", "lifetime_s", "refusal"),
    [
        (Endpoint(IPv4Address("224.0.0.5"), 8080), 1800, Refusal.NO_EXTERNAL_ADDRESS),
        (Endpoint(IPv4Address("0.0.0.0"), 8080), 1800, Refusal.NO_EXTERNAL_ADDRESS),
        (Endpoint(IPv4Address("192.168.77.5"), 8080), 1800, Refusal.NO_EXTERNAL_ADDRESS),
        (Endpoint(OUTSIDE, 0), 1800, Refusal.NO_PORT),
        (GRANTED, 1, Refusal.NO_PORT),
    ],
    ids=["multicast", "none", "of our LAN", "port 0", "a second"],
)
async def test_a_lease_that_cannot_be_used_is_refused_and_deleted_above(
    above: ForeignGateway, external: Endpoint, lifetime_s: int, refusal: Refusal
) -> None:
    above.on_datagram = pcp_server(lambda request: [granted(request, external, lifetime_s)])
    async with asking(ABOVE, PCP) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.refusal is refusal
        assert found.reason.startswith(f"the gateway above at {ABOVE} refused: ")
        await async_until(lambda: [request.lifetime_s for request in maps(above)] == [3600, 0])


async def test_absurd_lifetimes_are_cut(above: ForeignGateway) -> None:
    above.on_datagram = pcp_server(lambda request: [granted(request, lifetime_s=2**32 - 1)])
    async with asking(ABOVE, PCP) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveGranted)
        assert found.lifetime_s == 3600


@pytest.mark.spec("CAS-025")
@pytest.mark.parametrize("knows_option", [True, False])
async def test_an_exact_port_or_a_conflict(above: ForeignGateway, knows_option: bool) -> None:
    """A server without PREFER_FAILURE is asked again without it. The port that nobody wants is deleted."""

    def answer(request: Request) -> Iterable[bytes]:
        datagram = above.datagrams[-1]
        if PreferFailure() in request.options:
            result = ResultCode.CANNOT_PROVIDE_EXTERNAL if knows_option else ResultCode.UNSUPP_OPTION
            return (build_error(datagram, result, 500),)
        return (granted(request, Endpoint(OUTSIDE, 9999)),)

    above.on_datagram = pcp_server(answer)
    async with asking(ABOVE, PCP) as (client, _):
        found = await client.ask(replace(REQUEST, exact=True), LONG_S)
        assert isinstance(found, AboveRefused)
        assert (found.refusal, found.retry_s) == (Refusal.CONFLICT, 30)
        if not knows_option:
            await async_until(lambda: maps(above)[-1].lifetime_s == 0)


@pytest.mark.spec("CAS-033")
async def test_another_nat_before_it_is_reported_and_nothing_is_asked_within_its_lifetime(
    above: ForeignGateway, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: Request) -> Iterable[bytes]:
        return (build_error(above.datagrams[-1], ResultCode.ADDRESS_MISMATCH, 500, 600),)

    above.on_datagram = pcp_server(answer)
    async with asking(ABOVE, PCP) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert found == AboveRefused(
            Via.PCP,
            ABOVE,
            Refusal.NO_EXTERNAL_ADDRESS,
            f"the gateway above at {ABOVE} refused: there is another NAT before it",
            600,
        )
        again = await client.ask(replace(REQUEST, internal=Endpoint(OWN, 9)), LONG_S)
        assert isinstance(again, AboveRefused)
        assert 590 <= again.retry_s <= 600
        assert len(maps(above)) == 1
        assert "another NAT before it" in caplog.text


async def test_one_that_asks_this_gateway_back_is_named_until_it_grants(
    above: ForeignGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A host of the LAN that forges such a request ends nobody's questions."""
    above.on_datagram = pcp_server(lambda request: [granted(request)])
    async with asking(ABOVE, PCP) as (client, _):
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        client.leads_back()
        client.leads_back()
        state = client.state()
        assert state.loop
        assert state.problem == f"the gateway above at {ABOVE} leads back to this gateway"
        assert caplog.text.count("leads back") == 1
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        assert not client.state().loop


async def test_no_byte_of_it_reaches_a_reason(above: ForeignGateway) -> None:
    """All reasons are our own words."""
    fault = envelope(
        '<s:Fault><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>606</errorCode>'
        "<errorDescription>EVIL</errorDescription></UPnPError></detail></s:Fault>"
    )
    igd_server(above, lambda action: http_answer(fault, "500 EVIL", "Server: EVIL"))
    async with asking(ABOVE, IGD) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.refusal is Refusal.NOT_AUTHORIZED
        assert "EVIL" not in found.reason


async def test_a_request_before_the_start_waits_and_one_after_the_end_does_not(
    above: ForeignGateway,
) -> None:
    """The engine begins to ask for what it restored while the sockets are not open yet."""
    above.on_datagram = pcp_server(lambda request: [granted(request)])
    client = GatewayAboveClient(PCP, ABOVE, lambda: network_of(OWN), clock)
    client.network_changed()
    assert client.state().gateway is None
    early = asyncio.ensure_future(client.ask(REQUEST, LONG_S))
    released = asyncio.ensure_future(client.release(replace(REQUEST, via=Via.PCP), BRIEF_S / 10))
    assert isinstance(await released, AboveSilent)
    await client.start(SeenEvents())
    assert isinstance(await early, AboveGranted)
    await client.close()
    began = time.monotonic()
    assert isinstance(await client.ask(REQUEST, LONG_S), AboveSilent)
    assert isinstance(await client.release(REQUEST, LONG_S), AboveSilent)
    assert time.monotonic() - began < LONG_S / 2


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_closed_port_that_opens_is_asked_again(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """An ICMP error does not end the socket, on the loop of the daemon too: it ends a reader of such a socket."""

    async def scenario() -> None:
        async with asking(ABOVE, PCP) as (client, _):
            for _ in range(2):
                began = time.monotonic()
                assert isinstance(await client.ask(REQUEST, LONG_S), AboveSilent)
                assert time.monotonic() - began < LONG_S / 2, "the port is closed, and the kernel says so"
            gateway = ForeignGateway(ABOVE)
            await gateway.open()
            gateway.on_datagram = pcp_server(lambda request: [granted(request)])
            assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
            await gateway.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


# -- the order


@pytest.mark.spec("CAS-016")
@pytest.mark.parametrize("known", [False, True], ids=["at the first request", "after PCP worked"])
async def test_a_server_of_natpmp_alone_is_asked_over_natpmp_in_the_same_attempt(
    above: ForeignGateway, known: bool
) -> None:
    async with asking(ABOVE) as (client, _):
        if known:
            above.on_datagram = pcp_server(lambda request: [granted(request)])
            assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        above.on_datagram = natpmp_server()
        found = await client.ask(REQUEST, LONG_S)
        assert found == AboveGranted(Via.NATPMP, ABOVE, Endpoint(OUTSIDE, 8080), 3600)


async def test_natpmp_has_no_exact_ports_so_another_one_is_deleted(above: ForeignGateway) -> None:
    above.on_datagram = natpmp_server(9999)
    async with asking(ABOVE, NATPMP) as (client, _):
        found = await client.ask(replace(REQUEST, exact=True), LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.refusal is Refusal.CONFLICT
        await async_until(lambda: above.datagrams[-1] == bytes.fromhex("00020000 1f90 0000 00000000"))


async def test_a_gateway_of_natpmp_that_leads_back_is_not_asked_for_anything(above: ForeignGateway) -> None:
    """The address comes first, as long as none is known; and again after that, for it may have another one now."""
    inside = natpmp.AddressResponse(natpmp.NatPmpResult.SUCCESS, 500, IPv4Address("192.168.77.5"))
    above.on_datagram = lambda data: (natpmp.build_response(inside),) if data == b"\0\0" else ()
    async with asking(ABOVE, NATPMP) as (client, _):
        for _ in range(2):
            found = await client.ask(REQUEST, LONG_S)
            assert isinstance(found, AboveRefused)
            assert found.reason == f"the gateway above at {ABOVE} refused: it leads back to this gateway"
        assert client.state().loop
        assert {len(data) for data in above.datagrams} == {2}, "no mapping was asked for"
        above.on_datagram = natpmp_server()
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        assert not client.state().loop


async def test_a_gateway_of_natpmp_without_an_address_is_not_asked_for_anything(
    above: ForeignGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """So a ring of gateways ends at once, and the state says that it may be one."""
    none = natpmp.AddressResponse(natpmp.NatPmpResult.NETWORK_FAILURE, 500, IPv4Address(0))
    above.on_datagram = lambda data: (natpmp.build_response(none),) if data == b"\0\0" else ()
    async with asking(ABOVE, NATPMP) as (client, _):
        for _ in range(2):
            found = await client.ask(REQUEST, LONG_S)
            assert isinstance(found, AboveRefused)
            assert found.reason == f"the gateway above at {ABOVE} refused: it has no external address"
        assert "its own WAN is down, or it leads back to this gateway" in client.state().problem
        assert {len(data) for data in above.datagrams} == {2}, "no mapping was asked for"
        assert caplog.text.count("has no external address") == 1
        above.on_datagram = natpmp_server()
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        assert not client.state().problem


async def test_a_delete_while_the_request_waits(above: ForeignGateway) -> None:
    """The request may still be granted then; the engine deletes it again."""
    held = asyncio.Event()
    above.on_datagram = pcp_server(lambda request: [granted(request)] if held.is_set() else [])
    async with asking(ABOVE, PCP) as (client, _):
        asked_for = asyncio.ensure_future(client.ask(REQUEST, LONG_S))
        await async_until(lambda: bool(maps(above)))
        assert await client.release(REQUEST, LONG_S) is None
        held.set()
        assert isinstance(await asked_for, AboveGranted)


@pytest.mark.parametrize(
    ("result", "refusal"),
    [
        (natpmp.NatPmpResult.REFUSED, Refusal.NOT_AUTHORIZED),
        (natpmp.NatPmpResult.NETWORK_FAILURE, Refusal.NO_EXTERNAL_ADDRESS),
        (natpmp.NatPmpResult.OUT_OF_RESOURCES, Refusal.TABLE_FULL),
    ],
)
async def test_refusals_of_natpmp(above: ForeignGateway, result: natpmp.NatPmpResult, refusal: Refusal) -> None:
    above.on_datagram = natpmp_server(result=result)
    async with asking(ABOVE, NATPMP) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.refusal is refusal


@pytest.mark.spec("CAS-017")
@pytest.mark.parametrize("listening", [True, False], ids=["silent port 5351", "closed port 5351"])
async def test_a_gateway_of_igd_alone_is_asked_over_igd(listening: bool) -> None:
    gateway = ForeignGateway(ABOVE)
    await gateway.open(port5351=listening)
    igd_server(gateway)
    try:
        async with asking(ABOVE) as (client, _):
            found = await client.ask(REQUEST, LONG_S)
            assert found == AboveGranted(Via.IGD1, ABOVE, GRANTED, 3600)
        async with asking(ABOVE, (Via.PCP, Via.NATPMP)) as (client, _):
            began = time.monotonic()
            assert isinstance(await client.ask(REQUEST, BRIEF_S), AboveSilent), "IGD is not in the order"
            assert listening or time.monotonic() - began < BRIEF_S, "a closed port is known at once"
    finally:
        await gateway.close()


@pytest.mark.spec("CAS-015")
async def test_a_gateway_that_is_not_there_is_silent_in_time() -> None:
    async with asking(IPv4Address("127.0.80.77")) as (client, _):
        began = time.monotonic()
        replies = await asyncio.gather(
            *(client.ask(replace(REQUEST, internal=Endpoint(OWN, port)), BRIEF_S) for port in range(1, 65))
        )
        assert all(isinstance(reply, AboveSilent) for reply in replies)
        assert time.monotonic() - began < LONG_S
        assert isinstance(await client.release(replace(REQUEST, via=Via.PCP), BRIEF_S), AboveSilent)


# -- the way


@pytest.mark.spec("CAS-002")
@pytest.mark.parametrize("own", [OWN, IPv4Address("192.168.77.1")], ids=["WAN", "LAN"])
async def test_one_of_our_own_addresses_is_never_asked(own: IPv4Address) -> None:
    async with asking(own) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert found == AboveSilent(own, f"the gateway above at {own} is this gateway itself")
        state = client.state()
        assert (state.gateway, state.loop, state.problem) == (own, True, found.reason)


async def test_without_a_default_route_there_is_no_gateway_above() -> None:
    async with asking(None) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveSilent)
        assert found.gateway is None
        assert "no IPv4 default route" in found.reason


async def test_without_an_address_there_is_nothing_to_ask_from(above: ForeignGateway) -> None:
    six = replace(REQUEST, internal=Endpoint(IPv4Address("192.168.77.10"), 80))
    async with asking(ABOVE, network=network_of()) as (client, _):
        assert isinstance(await client.ask(six, LONG_S), AboveSilent)
        assert "no IPv4 address" in client.state().problem or client.state().gateway is None


async def test_a_pinhole_needs_third_party_or_the_next_protocol(above: ForeignGateway) -> None:
    """A server without THIRD_PARTY is not asked for pinholes, but for port mappings."""

    def answer(request: Request) -> Iterable[bytes]:
        if request.options:
            return (build_error(above.datagrams[-1], ResultCode.UNSUPP_OPTION, 500),)
        return (granted(request),)

    above.on_datagram = pcp_server(answer)
    async with asking(ABOVE, PCP) as (client, _):
        found = await client.ask(PINHOLE, LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.refusal is Refusal.UNSUPPORTED
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
    above.on_datagram = pcp_server(lambda request: [granted(request, PINHOLE.internal)])
    async with asking(ABOVE, PCP) as (client, _):
        found = await client.ask(PINHOLE, LONG_S)
        assert found == AboveGranted(Via.PCP, ABOVE, PINHOLE.internal, 1800)
    above.on_datagram = natpmp_server()
    async with asking(ABOVE, NATPMP) as (client, _):
        assert isinstance(await client.ask(PINHOLE, LONG_S), AboveRefused)


# -- IGD


@pytest.mark.parametrize("name", WRONG_DESCRIPTIONS)
async def test_a_description_that_cannot_be_used_is_bounded_and_harmless(above: ForeignGateway, name: str) -> None:
    above.on_search = lambda data: (search_answer(above.location),)
    above.on_http = lambda request: WRONG_DESCRIPTIONS[name]
    async with listening_at(OTHER) as touched, asking(ABOVE, IGD) as (client, _):
        began = time.monotonic()
        assert isinstance(await client.ask(REQUEST, 1.0), AboveSilent)
        assert time.monotonic() - began < LONG_S
        assert not touched, "another host got a connection"


@pytest.mark.parametrize(
    "location",
    [f"http://{OTHER}:{{port}}/root.xml", "http://localhost:{port}/root.xml", "https://127.0.80.1/", "nonsense"],
)
async def test_a_location_at_another_host_is_not_read(above: ForeignGateway, location: str) -> None:
    async with listening_at(OTHER) as touched:
        port = touched.port
        above.on_search = lambda data: (search_answer(location.format(port=port)),)
        async with asking(ABOVE, IGD) as (client, _):
            assert isinstance(await client.ask(REQUEST, BRIEF_S), AboveSilent)
        assert not touched
        assert not above.requests


class Touched(list[str]):
    """The connections that a host got."""

    port = 0


class listening_at:  # used as a function
    """A host that nobody should connect to."""

    def __init__(self, address: IPv4Address) -> None:
        self._address = address
        self._touched = Touched()

    async def __aenter__(self) -> Touched:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._touched.append(str(writer.get_extra_info("peername")))
            writer.close()

        self._server = await asyncio.start_server(connected, str(self._address), 0)
        self._touched.port = self._server.sockets[0].getsockname()[1]
        return self._touched

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        await self._server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        silent_after_the_description,
        lambda action: http_answer(b"", "302 Found", f"Location: http://{OTHER}/ctl"),
        lambda action: http_answer(envelope("<u:NopeResponse xmlns:u='u'/>")),
        lambda action: igd_answer(action, NewExternalIPAddress="not an address"),
        lambda action: http_answer(b"<" * 100_000),
    ],
    ids=["silence", "redirection", "another action", "no address", "large"],
)
async def test_an_action_that_is_not_answered_ends_in_time(
    above: ForeignGateway, answer: Callable[[str], bytes | None]
) -> None:
    igd_server(above, answer)
    async with asking(ABOVE, IGD) as (client, _):
        began = time.monotonic()
        assert isinstance(await client.ask(REQUEST, 1.0), AboveSilent)
        assert time.monotonic() - began < LONG_S


async def test_a_body_that_comes_byte_by_byte_ends_in_time(above: ForeignGateway) -> None:
    above.on_search = lambda data: (search_answer(above.location),)
    endless = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while not endless.is_set():
                writer.write(b"<")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(drip, str(ABOVE), 0)
    above.http_port = server.sockets[0].getsockname()[1]
    async with asking(ABOVE, IGD) as (client, _):
        assert isinstance(await client.ask(REQUEST, BRIEF_S), AboveSilent)
    endless.set()
    server.close()


async def test_a_lease_of_igd_is_what_the_gateway_above_tells(above: ForeignGateway) -> None:
    igd_server(above, lambda action: igd_answer(action, NewLeaseDuration="600"))
    async with asking(ABOVE, IGD) as (client, _):
        assert await client.ask(REQUEST, LONG_S) == AboveGranted(Via.IGD1, ABOVE, GRANTED, 600)
    igd_server(above, lambda action: igd_answer(action, NewLeaseDuration="0"))
    async with asking(ABOVE, IGD) as (client, _):
        assert await client.ask(REQUEST, LONG_S) == AboveGranted(Via.IGD1, ABOVE, GRANTED, 3600)


async def test_a_mapping_that_leads_to_another_host_is_none_of_ours(above: ForeignGateway) -> None:
    """It answered that it opened the port, and forwards it to somebody else: nothing of that is deleted."""
    igd_server(above, lambda action: igd_answer(action, NewInternalClient="127.0.80.3"))
    async with asking(ABOVE, IGD) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.refusal is Refusal.CONFLICT
    assert not [request for request in above.requests if b"DeletePortMapping" in request]


async def test_a_gateway_that_leads_back_is_not_asked_for_anything(above: ForeignGateway) -> None:
    """It tells an external address of our LAN: its way out is through us."""
    igd_server(above, lambda action: igd_answer(action, NewExternalIPAddress="192.168.77.5"))
    async with asking(ABOVE, IGD) as (client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.reason == f"the gateway above at {ABOVE} refused: it leads back to this gateway"
        assert client.state().loop
        assert "leads back to this gateway" in client.state().problem
    assert not [request for request in above.requests if b"AddPortMapping" in request]


# -- what comes unasked


def restart(epoch_s: int) -> bytes:
    return build_response(Response(ResultCode.SUCCESS, 0, epoch_s))


async def test_a_restart_is_noticed_at_once(above: ForeignGateway) -> None:
    above.on_datagram = pcp_server(lambda request: [granted(request)])
    async with asking(ABOVE, PCP) as (client, events):
        await client.ask(REQUEST, LONG_S)
        above.announce(restart(505))
        above.announce(restart(2))
        announced = asyncio.get_running_loop().time()
        await async_until(lambda: events.losses == 1)
        assert events.lost_at - announced < 0.5


@pytest.mark.spec("CAS-024")
async def test_announcements_of_another_host_or_port_are_ignored(above: ForeignGateway) -> None:
    above.on_datagram = pcp_server(lambda request: [granted(request)])
    async with asking(ABOVE, PCP) as (client, events):
        await client.ask(REQUEST, LONG_S)
        above.announce(restart(2), source=OTHER)
        above.announce(restart(2), source_port=0)
        above.announce(b"", b"\2", bytes(60), bytes(1100))
        above.announce(restart(500))
        await client.ask(REQUEST, LONG_S)
        assert events.losses == 0
        above.announce(restart(2))
        await async_until(lambda: events.losses == 1)


async def test_a_restart_by_ssdp_is_noticed(above: ForeignGateway) -> None:
    igd_server(above)

    def notify(nts: str, boot_id: int) -> bytes:
        return (
            f"NOTIFY * HTTP/1.1\r\nNT: {ROOT}1\r\nNTS: {nts}\r\nUSN: uuid:1::{ROOT}1\r\n"
            f"BOOTID.UPNP.ORG: {boot_id}\r\n\r\n"
        ).encode()

    async with asking(ABOVE, IGD) as (client, events):
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        above.notify(notify("ssdp:alive", 7))
        above.notify(notify("ssdp:alive", 9), source=OTHER)
        above.notify(notify("ssdp:byebye", 8), notify("ssdp:alive", 8))
        await async_until(lambda: events.losses == 1)


async def test_an_external_address_that_changes_is_told(above: ForeignGateway) -> None:
    above.on_datagram = natpmp_server()
    async with asking(ABOVE, NATPMP) as (client, events):
        await client.ask(REQUEST, LONG_S)
        told = natpmp.AddressResponse(natpmp.NatPmpResult.SUCCESS, 501, IPv4Address("11.22.33.45"))
        above.announce(natpmp.build_response(told))
        await async_until(lambda: events.externals == [IPv4Address("11.22.33.45")])
        assert client.state().external == IPv4Address("11.22.33.45")


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.168.77.5"])
async def test_an_external_address_that_cannot_be_is_not_told(above: ForeignGateway, address: str) -> None:
    """Neither announced nor answered: clients would get it."""
    above.on_datagram = natpmp_server()
    async with asking(ABOVE, NATPMP) as (client, events):
        await client.ask(REQUEST, LONG_S)
        for epoch_s, told in ((500, address), (500, "11.22.33.46")):
            response = natpmp.AddressResponse(natpmp.NatPmpResult.SUCCESS, epoch_s, IPv4Address(told))
            above.announce(natpmp.build_response(response))
        await async_until(lambda: bool(events.externals))
        assert events.externals == [IPv4Address("11.22.33.46")]
        assert client.state().external == IPv4Address("11.22.33.46")


@pytest.mark.spec("CAS-021", "CAS-023")
async def test_a_mapping_update_is_told_and_a_forged_one_is_not(above: ForeignGateway) -> None:
    above.on_datagram = pcp_server(lambda request: [granted(request)])
    elsewhere = Endpoint(IPv4Address("11.22.33.45"), 9000)
    async with asking(ABOVE, PCP) as (client, events):
        await client.ask(REQUEST, LONG_S)
        request = maps(above)[0]
        assert request.map is not None
        other_port = replace(request, map=replace(request.map, internal_port=1))
        for datagram in (
            granted(request),
            granted(request, Endpoint(OUTSIDE, 666), nonce=OTHER_NONCE),
            granted(other_port, elsewhere),
            granted(request, elsewhere, lifetime_s=0),
            granted(request, elsewhere),
        ):
            above.port5351.sendto(datagram, above.peer)
        await async_until(lambda: bool(events.updates))
        assert events.updates == [(REQUEST.key, AboveGranted(Via.PCP, ABOVE, elsewhere, 1800))]
        assert events.losses == 0
        error = build_response(
            Response(ResultCode.NOT_AUTHORIZED, 600, 501, replace(request.map, external_port=8080))
        )
        above.port5351.sendto(error, above.peer)
        await async_until(lambda: len(events.updates) == 2)
        key, reply = events.updates[1]
        assert key == REQUEST.key
        assert isinstance(reply, AboveRefused)
        assert (reply.refusal, reply.retry_s) == (Refusal.NOT_AUTHORIZED, 600)


@pytest.mark.spec("CAS-032")
async def test_a_request_to_our_sockets_is_never_answered(above: ForeignGateway) -> None:
    """Neither at the port that asks nor at those that listen; from the gateway above as little as from others."""
    above.on_datagram = pcp_server(lambda request: [granted(request)])
    async with asking(ABOVE, EVERY) as (client, events):
        await client.ask(REQUEST, LONG_S)
        await async_until(lambda: any(data[0] == 0 for data in above.datagrams))  # the question over NAT-PMP
        before = list(above.datagrams)
        requests = (b"\0\0", bytes.fromhex("00020000 1f90 1f90 00000e10"), above.datagrams[-1], bytes(24))
        search = f'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {ROOT}1\r\n\r\n'.encode()
        for request in requests:
            above.port5351.sendto(request, above.peer)
            above.announce(request)
        above.notify(search)
        above.announce(restart(2))
        await async_until(lambda: events.losses == 1)
        assert [data for data in above.datagrams[len(before) :] if data not in before] == []


async def test_it_answers_again_after_a_silence(above: ForeignGateway) -> None:
    """Its mappings may be lost: the engine hears of it without asking."""
    async with asking(ABOVE, PCP) as (client, events):
        assert isinstance(await client.ask(REQUEST, 0.05), AboveSilent)
        above.on_datagram = pcp_server(lambda request: [granted(request)])
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        assert events.losses == 1
        assert client.state().silent_since is None
