"""Questions of a test to the journal and the other lists: filters, messages, and waiting without polling."""

import asyncio
import dataclasses
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import pytest

from tests import ROOT
from upnp_gw.testing import Announcement, Emulator, HeldMapping, Request, SentEvent, Subscriber
from upnp_gw.testing.changes import Changes
from upnp_gw.testing.journal import Journal
from upnp_gw.testing.records import Records

URN = "urn:schemas-upnp-org:service:WANIPConnection:2"
ARGUMENTS = {
    "NewRemoteHost": "",
    "NewExternalPort": "8080",
    "NewProtocol": "TCP",
    "NewInternalPort": "8080",
    "NewInternalClient": "127.0.0.1",
    "NewEnabled": "1",
    "NewPortMappingDescription": "mine",
    "NewLeaseDuration": "3600",
}


@pytest.fixture
def igd() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def post(igd: Emulator, action: str, **arguments: str) -> None:
    """A client that blocks."""
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in arguments.items())
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<u:{action} xmlns:u="{URN}">{inner}</u:{action}></s:Body></s:Envelope>'
    )
    head = {"SOAPACTION": f'"{URN}#{action}"', "Content-Type": "text/xml"}
    asked = urllib.request.Request(igd.control_url("WANIPConnection"), body.encode(), head)
    urllib.request.urlopen(asked, timeout=5).read()


def map_port(igd: Emulator, port: int = 8080) -> None:
    post(igd, "AddPortMapping", **ARGUMENTS | {"NewExternalPort": str(port)})


def later(igd: Emulator, *ports: int) -> threading.Thread:
    """A client that maps these ports in a thread."""

    def ask() -> None:
        with suppress(OSError):
            for port in ports:
                map_port(igd, port)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_requests_of_an_action_with_arguments(igd: Emulator) -> None:
    map_port(igd, 8080)
    map_port(igd, 8081)
    assert igd.requests.of("AddPortMapping", NewExternalPort=8081).one().error is None
    assert repr(igd.requests.of("AddPortMapping", NewExternalPort=80)).startswith(
        "no request of AddPortMapping with NewExternalPort=80. Instead:\n  igd2 AddPortMapping("
    )
    with pytest.raises(TypeError, match="no such request has an argument NewExtPort; did you mean NewExternalPort"):
        igd.requests.of("AddPortMapping", NewExtPort=80)
    with pytest.raises(ValueError, match="no action 'DeletPortMapping'; did you mean 'DeletePortMapping'"):
        igd.requests.of("DeletPortMapping")
    assert repr(igd.requests.of("DeletePortMapping")).count("igd2 AddPortMapping(") == 2
    assert not igd.requests.of("pcp.map", lifetime=0)


def test_an_action_that_a_client_made_up_is_in_the_journal_by_its_name(igd: Emulator) -> None:
    with pytest.raises(urllib.error.HTTPError):
        post(igd, "X_Unknown")
    assert igd.requests.of("X_Unknown").one().error == 401


def test_a_request_is_one_line_with_the_name_of_its_error(igd: Emulator) -> None:
    igd.advance(minutes=30)
    with igd.answer("GetExternalIPAddress", error=501), suppress(OSError):
        post(igd, "GetExternalIPAddress")
    post(igd, "GetExternalIPAddress")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        for error in ("NETWORK_FAILURE", None):
            with igd.answer("natpmp.address", error=error) if error else nullcontext():
                sock.sendto(b"\0\0", igd.pcp_address)
                sock.recv(100)
    assert [str(request) for request in igd.requests] == [
        "igd2 GetExternalIPAddress() from 127.0.0.1 at 1800 s: 501 Action Failed",
        "igd2 GetExternalIPAddress() from 127.0.0.1 at 1800 s: 200 OK",
        "natpmp natpmp.address() from 127.0.0.1 at 1800 s: 3 NETWORK_FAILURE",
        "natpmp natpmp.address() from 127.0.0.1 at 1800 s: 12 bytes",
    ]


def test_the_journal_is_cleared_alone(igd: Emulator) -> None:
    igd.answer("DeletePortMapping", error=714)
    map_port(igd)
    before = igd.requests
    igd.requests.clear()
    assert not igd.requests
    assert len(before) == 1
    assert igd.mappings
    with pytest.raises(urllib.error.HTTPError):
        post(igd, "DeletePortMapping", NewRemoteHost="", NewExternalPort="8080", NewProtocol="TCP")
    assert igd.requests.one().error == 714, "rules stay"
    with pytest.raises(RuntimeError, match=r"igd\.requests\.clear\(\)"):
        igd.requests.of("AddPortMapping").clear()


def test_a_test_waits_for_a_request(igd: Emulator) -> None:
    client = later(igd, 8080, 8081)
    second = igd.requests.wait_for("AddPortMapping", count=2)
    assert second.arguments["NewExternalPort"] == "8081"
    assert second.sent.startswith(b"HTTP/1.1 200")
    assert igd.requests.wait_for("AddPortMapping").arguments["NewExternalPort"] == "8080", "it has come already"
    assert igd.requests.wait_for("AddPortMapping", NewExternalPort=8081) is second
    assert igd.mappings.wait_for(external_port=8081).description == "mine"
    client.join()


async def test_an_asynchronous_test_waits_for_a_request() -> None:
    async with Emulator() as igd:
        client = asyncio.create_task(asyncio.to_thread(map_port, igd))
        assert (await igd.requests.async_wait_for("AddPortMapping")).error is None
        assert (await igd.mappings.async_wait_for(external_port=8080)).lease_s == 3600
        await client
        with pytest.raises(RuntimeError, match="await async_wait_for"):
            igd.requests.wait_for("AddPortMapping")
    with Emulator() as igd:
        client = asyncio.create_task(asyncio.to_thread(map_port, igd))
        assert (await igd.requests.async_wait_for("AddPortMapping")).error is None
        await client
        with pytest.raises(AssertionError, match=r"within 0\.01 s no port mapping with external_port=1"):
            await igd.mappings.async_wait_for(external_port=1, timeout_s=0.01)


def test_each_change_wakes_those_who_wait(igd: Emulator) -> None:
    changes, woken = Changes(), list[str]()
    journal = Journal(lambda: 0.0, changes)
    with changes.waking(lambda: woken.append("request")):
        request = journal.add("http", "GET", {}, "127.0.0.1", b"")
        assert len(woken) == 1
        journal.answered(request, b"answer", None)
        assert len(woken) == 2
    map_port(igd)
    with igd._changes.waking(lambda: woken.append("mapping")):
        igd.advance(hours=1)
    assert set(woken[2:]) == {"mapping"}


def test_a_wait_that_ends_without_it_says_what_came(igd: Emulator) -> None:
    map_port(igd)
    with pytest.raises(AssertionError, match=r"within 0\.01 s not 2, but 1 request of AddPortMapping:\n  igd2 Add"):
        igd.requests.wait_for("AddPortMapping", count=2, timeout_s=0.01)
    with pytest.raises(
        AssertionError, match=r"within 0\.01 s no request of DeletePortMapping\. Instead:\n  igd2 Add"
    ):
        igd.requests.wait_for("DeletePortMapping", timeout_s=0.01)
    with pytest.raises(ValueError, match="no action 'AddPortMap'"):
        igd.requests.wait_for("AddPortMap", timeout_s=0.01)
    with pytest.raises(TypeError, match="did you mean external_port"):
        igd.mappings.wait_for(port=1)


def test_a_request_without_an_answer_is_waited_for_on_demand(igd: Emulator) -> None:
    with igd.answer("AddPortMapping", wire="silent", times=1):
        client = later(igd, 8080)
        waiting = igd.requests.wait_for("AddPortMapping", answered=False)
        assert not waiting.sent
        with pytest.raises(AssertionError, match="no answered request"):
            igd.requests.wait_for("AddPortMapping", timeout_s=0.01)
        igd.advance(minutes=1)
        client.join(5)
        assert not client.is_alive()


def test_the_time_of_a_request_is_the_emulators_and_the_machines(igd: Emulator) -> None:
    began = time.monotonic()
    map_port(igd)
    igd.advance(minutes=30)
    map_port(igd)
    first, second = igd.requests
    assert (first.at_s, second.at_s) == (0, 1800)
    assert 0 < first.real_s < second.real_s < time.monotonic() - began + 60


@pytest.mark.parametrize(
    ("noun", "one", "two"),
    [
        ("port mapping with external_port=1", "1 port mapping with", "2 port mappings with"),
        ("request of GET", "1 request of GET", "2 requests of GET"),
        ("event", "1 event:", "2 events:"),
    ],
)
def test_a_list_says_its_number_and_its_lines(noun: str, one: str, two: str) -> None:
    assert repr(Records(str, noun, ["a"])).startswith(one)
    assert repr(Records(str, noun, ["a", "b"])).startswith(two)
    assert repr(Records(str, noun, [])) == f"no {noun}."
    assert repr(Records(str, noun, ["a", "b"])).splitlines()[1:] == ["  a", "  b"]


def test_the_page_names_every_field_of_each_list() -> None:
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)`(?:, `\w+`)? \| (.*) \|$", page.partition("| list |")[2], re.M))
    lists = {
        "mappings": HeldMapping,
        "requests": Request,
        "subscribers": Subscriber,
        "events": SentEvent,
        "announcements": Announcement,
    }
    for name, kind in lists.items():
        fields = {field.name for field in dataclasses.fields(kind)} - {"answers"}
        assert fields <= set(re.findall(r"`(\w+)`", rows[name])), name


def test_a_list_is_a_sequence() -> None:
    letters = Records(str, "letter", ["a", "b", "c"])
    assert letters == ["a", "b", "c"]
    assert letters[1:] == ("b", "c")
    assert letters[-1] == "c"
    assert "b" in letters
    assert letters != ["a"]
    with pytest.raises(IndexError, match="no number 3: 3 letters:\n  a\n  b\n  c"):
        _ = letters[3]
    assert repr(letters[3:]) == "no letter. Instead:\n  a\n  b\n  c"
