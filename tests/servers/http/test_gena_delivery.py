"""Eventing over real sockets: subscribers that listen, refuse, hang, answer nonsense, forget and leave."""

import asyncio
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Any

import pytest
import uvloop
from aiohttp import web
from async_upnp_client.aiohttp import AiohttpNotifyServer, AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory

from tests.fixtures.waiting import async_until
from upnp_gw.ledger.events import Event, FirewallHealed, LanChanged, TableChanged, WanChanged
from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Source
from upnp_gw.protocols.gena.subscriptions import PER_HOST
from upnp_gw.protocols.igd_services import IgdVersion, Service, service_of
from upnp_gw.servers.http.gena_delivery import ANSWER_LIMIT, GenaDelivery

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SEQ = re.compile(rb"\r\nSEQ: ([0-9]+)\r\n")
VARIABLE = re.compile(rb"<e:property><(\w+)>([^<]*)</\w+></e:property>")


class Clock:
    """The real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.added_s = 0.0

    def __call__(self) -> Instant:
        return Instant(time.clock_gettime(time.CLOCK_BOOTTIME) + self.added_s, time.time())


class Gateway:
    """Eventing over variables that a test sets."""

    def __init__(self, deadline_s: float = 5.0) -> None:
        self.values = {"ConnectionStatus": "Connected", "PortMappingNumberOfEntries": "0"}
        self.update_id = 7
        self.clock = Clock()
        self.eventing = GenaDelivery(self.properties, self.clock, deadline_s=deadline_s)

    def properties(self, igd_version: IgdVersion, service: Service, source: Source) -> Mapping[str, str]:
        return self.values | ({"SystemUpdateID": str(self.update_id)} if igd_version is IgdVersion.IGD2 else {})

    def map_ports(self, count: int) -> None:
        """One operation on the table that leaves so many mappings."""
        self.update_id += 1
        self.values["PortMappingNumberOfEntries"] = str(count)
        self.eventing.on_event(TableChanged(system_update_id=self.update_id))

    def ask(
        self,
        method: str,
        headers: dict[str, str],
        host: str = "127.0.0.1",
        igd_version: IgdVersion = IgdVersion.IGD2,
        interface: str = "lo",
    ) -> tuple[int, str]:
        service = service_of(igd_version, "WANIPConnection")
        assert service is not None
        answer = self.eventing.serve(method, igd_version, service, headers, Source(ip_address(host), interface))
        return answer.status, answer.sid or ""

    def subscribe(
        self, *urls: str, host: str = "127.0.0.1", igd_version: IgdVersion = IgdVersion.IGD2, interface: str = "lo"
    ) -> str:
        headers = {"NT": "upnp:event", "CALLBACK": "".join(f"<{url}>" for url in urls)}
        status, sid = self.ask("SUBSCRIBE", headers, host, igd_version, interface)
        assert status == 200
        self.eventing.delivered(sid)
        return sid

    def has_ended(self, sid: str) -> bool:
        return self.ask("SUBSCRIBE", {"SID": sid})[0] == 412


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[Gateway]:
    await gateway.eventing.start()
    try:
        yield gateway
    finally:
        await gateway.eventing.stop()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running(Gateway()) as started:
        yield started


class Subscriber:
    """A control point's listener: keeps each message, answers as the test sets it; ``None``: never."""

    def __init__(
        self, host: str = "127.0.0.1", answer: bytes | None = OK, slowly: bool = False, stays: bool = False
    ) -> None:
        self.host = host
        self.stays = stays
        self.slowly = slowly
        self.answer = answer
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.connections = 0
        self.open_now = self.most_open = 0
        self.left = asyncio.Event()
        self.url = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "Subscriber":
        self.server = await asyncio.start_server(self._serve, self.host, 0)
        self.url = f"http://{self.host}:{self.server.sockets[0].getsockname()[1]}/event?n=1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"CONTENT-LENGTH: ([0-9]+)\r\n", head)
            assert length is not None
            self.messages.put_nowait(head + await reader.readexactly(int(length[1])))
            if self.answer is None:
                await reader.read()
            else:
                for piece in [bytes([byte]) for byte in self.answer] if self.slowly else [self.answer]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.05 if self.slowly else 0)
                if self.stays:
                    await reader.read()
        except OSError:
            pass
        finally:
            self.open_now -= 1
            self.left.set()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def next_message(self) -> tuple[int, dict[str, str]]:
        """The next message: SEQ and variables."""
        message = await asyncio.wait_for(self.messages.get(), 4)
        seq = SEQ.search(message)
        assert seq is not None
        return int(seq[1]), {name.decode(): value.decode() for name, value in VARIABLE.findall(message)}


def closed_url(host: str = "127.0.0.1") -> str:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind((host, 0))
        return f"http://{host}:{free.getsockname()[1]}/"


@pytest.mark.spec("IGD-180", "IGD-198")
async def test_the_initial_message_as_it_is_on_the_wire(gateway: Gateway) -> None:
    async with Subscriber() as subscriber:
        sid = gateway.subscribe(subscriber.url)
        message = await asyncio.wait_for(subscriber.messages.get(), 4)
        host = subscriber.url.split("/")[2]
        assert message.startswith(
            f"NOTIFY /event?n=1 HTTP/1.1\r\nHOST: {host}\r\n"
            'CONTENT-TYPE: text/xml; charset="utf-8"\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\n'
            f"SID: {sid}\r\nSEQ: 0\r\n".encode()
        )
        assert dict(VARIABLE.findall(message)) == {
            b"ConnectionStatus": b"Connected",
            b"PortMappingNumberOfEntries": b"0",
            b"SystemUpdateID": b"7",
        }


@pytest.mark.spec("IGD-181")
async def test_nothing_is_sent_until_the_answer_was_written(gateway: Gateway) -> None:
    async with Subscriber() as subscriber, Subscriber() as other:
        headers = {"NT": "upnp:event", "CALLBACK": f"<{subscriber.url}>"}
        status, sid = gateway.ask("SUBSCRIBE", headers)
        assert status == 200
        gateway.map_ports(1)
        gateway.subscribe(other.url)
        await other.next_message()
        assert subscriber.connections == 0
        gateway.eventing.delivered(sid)
        assert await subscriber.next_message() == (
            0,
            {"ConnectionStatus": "Connected", "PortMappingNumberOfEntries": "1", "SystemUpdateID": "8"},
        )


@pytest.mark.spec("IGD-193", "IGD-194", "IGD-195", "IGD-201")
async def test_each_operation_is_one_message_with_all_it_changed(gateway: Gateway) -> None:
    async with Subscriber() as first, Subscriber() as second:
        gateway.subscribe(first.url, igd_version=IgdVersion.IGD1)
        gateway.subscribe(second.url, igd_version=IgdVersion.IGD2)
        _, initial = await first.next_message()
        assert "SystemUpdateID" not in initial
        await second.next_message()
        gateway.map_ports(1)
        assert await first.next_message() == (1, {"PortMappingNumberOfEntries": "1"})
        assert await second.next_message() == (1, {"PortMappingNumberOfEntries": "1", "SystemUpdateID": "8"})
        gateway.map_ports(1)  # an overwrite: the count stays
        assert await second.next_message() == (2, {"SystemUpdateID": "9"})
        gateway.map_ports(0)
        assert await first.next_message() == (2, {"PortMappingNumberOfEntries": "0"})
        assert await second.next_message() == (3, {"PortMappingNumberOfEntries": "0", "SystemUpdateID": "10"})


@pytest.mark.spec("IGD-196")
async def test_a_change_of_the_wan_is_an_event(gateway: Gateway) -> None:
    async with Subscriber() as subscriber:
        gateway.subscribe(subscriber.url)
        await subscriber.next_message()
        gateway.values["ConnectionStatus"] = "Disconnected"
        gateway.eventing.on_event(WanChanged())
        assert await subscriber.next_message() == (1, {"ConnectionStatus": "Disconnected"})


async def test_an_event_that_changes_no_variable_sends_nothing(gateway: Gateway) -> None:
    async with Subscriber() as subscriber:
        gateway.subscribe(subscriber.url)
        await subscriber.next_message()
        gateway.eventing.on_event(WanChanged())
        gateway.eventing.on_event(FirewallHealed("the table was gone"))
        gateway.map_ports(1)
        assert (await subscriber.next_message())[0] == 1


async def test_a_burst_is_coalesced_ordered_and_one_at_a_time(gateway: Gateway) -> None:
    async with Subscriber() as subscriber:
        gateway.subscribe(subscriber.url)
        await subscriber.next_message()
        counts: list[str] = []
        seqs: list[int] = []
        for number in range(1, 301):
            gateway.map_ports(number)
            await asyncio.sleep(0.002)
        while not counts or counts[-1] != "300":
            seq, values = await subscriber.next_message()
            seqs.append(seq)
            counts.append(values["PortMappingNumberOfEntries"])
        assert seqs == list(range(1, len(seqs) + 1))
        assert counts == sorted(counts, key=int)
        assert 3 <= len(counts) <= 12
        assert subscriber.most_open == 1


@pytest.mark.spec("IGD-191")
@pytest.mark.parametrize("first", ["refuses", "hangs", "errs", "redirects", "babbles"])
async def test_the_second_url_gets_the_event_if_the_first_does_not_answer(first: str) -> None:
    elsewhere = "HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\n\r\n"
    answers = {"hangs": None, "errs": b"HTTP/1.1 500 X\r\n\r\n", "babbles": b"x" * (ANSWER_LIMIT * 4)}
    async with running(Gateway(deadline_s=0.2)) as gateway, Subscriber() as target, Subscriber() as second:
        answer = (elsewhere % target.url).encode() if first == "redirects" else answers.get(first)
        async with Subscriber(answer=answer) as dead:
            gateway.subscribe(closed_url() if first == "refuses" else dead.url, second.url)
            assert (await second.next_message())[0] == 0
            gateway.map_ports(1)
            assert (await second.next_message())[0] == 1
            assert target.connections == 0
        await async_until(lambda: gateway.eventing.counts["notified"] == 2)
        assert gateway.eventing.counts["abandoned"] == 0


@pytest.mark.spec("IGD-192")
async def test_seq_goes_on_over_undelivered_messages(gateway: Gateway) -> None:
    async with Subscriber(answer=b"HTTP/1.1 500 Oops\r\n\r\n") as subscriber:
        gateway.subscribe(subscriber.url)
        assert (await subscriber.next_message())[0] == 0
        await async_until(lambda: gateway.eventing.counts["abandoned"] == 1)
        subscriber.answer = OK
        gateway.map_ports(1)
        seq, values = await subscriber.next_message()
        assert seq == 1
        assert set(values) == {"ConnectionStatus", "PortMappingNumberOfEntries", "SystemUpdateID"}


@pytest.mark.spec("IGD-197")
async def test_subscribers_that_never_answer_do_not_delay_others(gateway: Gateway) -> None:
    async with Subscriber("127.0.0.2", answer=None) as dead, Subscriber() as alive:
        for _ in range(PER_HOST):
            gateway.subscribe(dead.url, host="127.0.0.2")
        gateway.subscribe(alive.url)
        await alive.next_message()
        for number in range(1, 4):
            started = time.monotonic()
            gateway.map_ports(number)
            assert (await alive.next_message())[0] == number
            assert time.monotonic() - started < 4.0, "who waits for one of them waits for 5 s"
        assert dead.connections == PER_HOST


async def test_one_byte_at_a_time_does_not_outlast_the_deadline() -> None:
    async with Subscriber(slowly=True) as subscriber, running(Gateway(deadline_s=0.3)) as gateway:
        gateway.subscribe(subscriber.url)
        await async_until(lambda: gateway.eventing.counts["abandoned"] == 1)


async def test_an_endless_answer_is_read_no_further_than_its_limit(gateway: Gateway) -> None:
    async with Subscriber(answer=b"HTTP/1.1 500 X\r\n" + b"x" * ANSWER_LIMIT, stays=True) as subscriber:
        gateway.subscribe(subscriber.url)
        await async_until(lambda: gateway.eventing.counts["abandoned"] == 1, 2)


async def test_a_message_leaves_by_the_subscribers_own_interface_or_not_at_all(gateway: Gateway) -> None:
    async with Subscriber() as subscriber:
        gateway.subscribe(subscriber.url, interface="gone0")
        await async_until(lambda: gateway.eventing.counts["abandoned"] == 1)
        assert subscriber.connections == 0


@pytest.mark.spec("IGD-188")
async def test_after_unsubscribe_no_event_is_sent_and_a_running_delivery_ends(gateway: Gateway) -> None:
    async with Subscriber(answer=None) as leaving, Subscriber() as staying:
        sid = gateway.subscribe(leaving.url)
        gateway.subscribe(staying.url)
        await leaving.next_message()
        await staying.next_message()
        assert gateway.ask("UNSUBSCRIBE", {"SID": sid})[0] == 200
        await asyncio.wait_for(leaving.left.wait(), 4)
        gateway.map_ports(1)
        await staying.next_message()
        assert leaving.connections == 1


@pytest.mark.spec("IGD-188", "IGD-186")
async def test_a_subscription_ends_with_its_time(gateway: Gateway) -> None:
    async with Subscriber() as subscriber:
        sid = gateway.subscribe(subscriber.url)
        await subscriber.next_message()
        await async_until(lambda: gateway.eventing.counts["notified"] == 1)
        gateway.clock.added_s = 1799.9
        assert gateway.ask("SUBSCRIBE", {"SID": sid})[0] == 200
        gateway.clock.added_s += 1799.9
        gateway.eventing.on_event(WanChanged())  # as any event, sets the timer by the new time
        await async_until(lambda: gateway.eventing.subscriptions == 0)
        gateway.map_ports(1)
        assert gateway.has_ended(sid)
        assert subscriber.connections == 1


async def test_412_from_a_subscriber_ends_its_subscription(gateway: Gateway) -> None:
    async with Subscriber(answer=b"HTTP/1.1 412 Precondition Failed\r\n\r\n") as subscriber:
        sid = gateway.subscribe(subscriber.url, closed_url())
        await async_until(lambda: gateway.eventing.counts["forgotten"] == 1)
        assert gateway.has_ended(sid)


async def test_a_status_line_alone_is_an_answer(gateway: Gateway) -> None:
    async with Subscriber(answer=b"HTTP/1.0 200 OK\r\n") as subscriber:
        gateway.subscribe(subscriber.url)
        await async_until(lambda: gateway.eventing.counts["notified"] == 1)


async def test_a_new_lan_address_cancels_all_subscriptions(gateway: Gateway) -> None:
    async with Subscriber(answer=None) as subscriber:
        sid = gateway.subscribe(subscriber.url)
        await subscriber.next_message()
        gateway.eventing.on_event(LanChanged())
        await asyncio.wait_for(subscriber.left.wait(), 4)
        assert gateway.has_ended(sid)


async def test_stop_closes_every_connection_and_refuses_requests() -> None:
    gateway = Gateway()
    async with Subscriber(answer=None) as subscriber:
        headers = {"NT": "upnp:event", "CALLBACK": f"<{subscriber.url}>"}
        assert gateway.ask("SUBSCRIBE", headers) == (503, "")
        await gateway.eventing.start()
        gateway.subscribe(subscriber.url)
        await subscriber.next_message()
        await gateway.eventing.stop()
        await asyncio.wait_for(subscriber.left.wait(), 4)
        assert gateway.ask("SUBSCRIBE", headers) == (503, "")
        gateway.map_ports(1)
        assert subscriber.connections == 1


@pytest.mark.spec("SR-8", "IGD-199")
async def test_ten_thousand_subscribes_of_one_host_leave_eight(gateway: Gateway) -> None:
    async with Subscriber() as subscriber:
        for _ in range(PER_HOST):
            gateway.subscribe(subscriber.url)
        await async_until(lambda: gateway.eventing.counts["notified"] == PER_HOST)
        headers = {"NT": "upnp:event", "CALLBACK": f"<{subscriber.url}>"}
        descriptors = len(os.listdir("/proc/self/fd"))
        started = time.process_time()
        assert {gateway.ask("SUBSCRIBE", headers) for _ in range(10_000)} == {(503, "")}
        assert time.process_time() - started < 5.0
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert gateway.eventing.counts["full"] == 10_000
        assert subscriber.connections == PER_HOST
        gateway.map_ports(1)
        await async_until(lambda: gateway.eventing.counts["notified"] == 2 * PER_HOST)


@pytest.mark.spec("IGD-189", "IGD-190", "SR-8")
async def test_no_packet_goes_to_a_host_that_did_not_subscribe(gateway: Gateway) -> None:
    async with Subscriber("127.0.0.3") as victim, Subscriber() as own:
        headers = {"NT": "upnp:event", "CALLBACK": f"<{victim.url}>"}
        assert gateway.ask("SUBSCRIBE", headers) == (412, "")
        gateway.subscribe(victim.url, own.url)
        gateway.map_ports(1)
        await own.next_message()
        assert victim.connections == 0


async def test_refusals_are_logged_once_a_minute_of_each_kind(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "upnp_gw.servers.http.gena_delivery")
    for _ in range(50):
        gateway.ask("SUBSCRIBE", {"NT": "upnp:event", "CALLBACK": "<http://\x1b[31mevil/>"})
        gateway.ask("UNSUBSCRIBE", {"SID": "uuid:\r\nx"})
    assert [record.getMessage() for record in caplog.records] == [
        "events: refused a subscription of 127.0.0.1: callback-refused",
        "events: refused a subscription of 127.0.0.1: sid-unknown",
    ]
    gateway.clock.added_s = 61
    gateway.ask("UNSUBSCRIBE", {"SID": "uuid:x"})
    assert len(caplog.records) == 3


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_both_event_loops(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Deliveries, deadlines and cancellation use the loop's socket calls, which uvloop has its own form of."""

    async def scenario() -> None:
        async with Subscriber("::1") as subscriber, running(Gateway()) as gateway:
            gateway.subscribe(subscriber.url.replace("::1", "[::1]"), host="::1")
            assert (await subscriber.next_message())[0] == 0
        async with Subscriber() as alive, Subscriber(answer=None) as dead, running(Gateway(0.2)) as gateway:
            gateway.subscribe(closed_url(), dead.url, alive.url)
            assert (await alive.next_message())[0] == 0
            gateway.map_ports(1)
            await dead.next_message()
            await dead.next_message()  # on its way when everything stops

    run(new_loop, scenario())


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario)


DESCRIPTION = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:2</deviceType><friendlyName>x</friendlyName>
<manufacturer>x</manufacturer><modelName>x</modelName><UDN>uuid:1</UDN><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:2</serviceType>
<serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><SCPDURL>/scpd</SCPDURL><controlURL>/control</controlURL>
<eventSubURL>/event</eventSubURL></service></serviceList></device></root>"""
SCPD = """<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><actionList/><serviceStateTable>
<stateVariable sendEvents="yes"><name>ConnectionStatus</name><dataType>string</dataType></stateVariable>
<stateVariable sendEvents="yes"><name>PortMappingNumberOfEntries</name><dataType>ui2</dataType></stateVariable>
<stateVariable sendEvents="yes"><name>SystemUpdateID</name><dataType>ui4</dataType></stateVariable>
</serviceStateTable></scpd>"""


@asynccontextmanager
async def served(gateway: Gateway) -> AsyncIterator[str]:
    """The gateway's event URL behind a small HTTP server: where it is."""

    async def serve_event(request: web.Request) -> web.Response:
        service = service_of(IgdVersion.IGD2, "WANIPConnection")
        assert service is not None
        source = Source(ip_address(request.remote or ""), "lo")
        answer = gateway.eventing.serve(request.method, IgdVersion.IGD2, service, request.headers, source)
        response = web.Response(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        await response.write_eof()
        if answer.sid is not None:
            gateway.eventing.delivered(answer.sid)
        return response

    async def serve_file(request: web.Request) -> web.Response:
        return web.Response(text=SCPD if request.path == "/scpd" else DESCRIPTION, content_type="text/xml")

    app = web.Application()
    app.router.add_route("*", "/event", serve_event)
    app.router.add_get("/{name}", serve_file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/igd2.xml"
    finally:
        await runner.cleanup()


@pytest.mark.spec("IGD-180", "IGD-185", "IGD-193")
async def test_async_upnp_client_subscribes_hears_renews_and_leaves(gateway: Gateway) -> None:
    requester = AiohttpRequester()
    listener = AiohttpNotifyServer(requester, ("127.0.0.1", 0))
    await listener.async_start_server()
    events: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    async with served(gateway) as url:
        device = await UpnpFactory(requester).async_create_device(url)
        service = device.service("urn:schemas-upnp-org:service:WANIPConnection:2")
        service.on_event = lambda _, changed: events.put_nowait({v.name: v.value for v in changed})
        sid, granted = await listener.event_handler.async_subscribe(service)
        assert granted.total_seconds() == 1800
        assert await asyncio.wait_for(events.get(), 4) == {
            "ConnectionStatus": "Connected",
            "PortMappingNumberOfEntries": 0,
            "SystemUpdateID": 7,
        }
        assert (await listener.event_handler.async_resubscribe(service))[0] == sid
        gateway.map_ports(3)
        changed = await asyncio.wait_for(events.get(), 4)
        assert changed == {"PortMappingNumberOfEntries": 3, "SystemUpdateID": 8}
        await async_until(lambda: gateway.eventing.counts["notified"] == 2)
        await listener.event_handler.async_unsubscribe(service)
        assert gateway.eventing.subscriptions == 0
        await listener.async_stop_server()


def test_every_event_is_taken() -> None:
    """A listener must not raise, not even before the start."""
    gateway = Gateway()
    events: list[Event] = [TableChanged(), WanChanged(), LanChanged(), FirewallHealed("x")]
    for event in events:
        gateway.eventing.on_event(event)
