"""Captured requests of real clients, byte for byte, to the real server: each is answered as its client needs.

Only the addresses, the port and the paths of the gateway that was captured are put in ours. The rows of Node's
clients were recorded against this gateway (``tests.captures.record``), with its own paths.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from lxml import etree

from tests import ROOT
from tests.fixtures.fake_gateway import CLIENT, TOKEN, FakeGateway, call, mapping_arguments, served_documents
from tests.fixtures.http_client import ENVELOPE, HttpFixture, body_of, header, serving, status_of
from upnp_gw.protocols.igd_services import IgdVersion, control_path, event_path, scpd_path, service_of

CAPTURES = ROOT / "tests" / "captures" / "captures.jsonl"
PINHOLE = {
    "RemoteHost": "",
    "RemotePort": "0",
    "InternalClient": "2001:db8::10",
    "InternalPort": "80",
    "Protocol": "6",
    "LeaseTime": "60",
}
PINHOLES = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"
NAMES = {
    "L3F": "Layer3Forwarding",
    "CmnIfCfg": "WANCommonInterfaceConfig",
    "WANCfg": "WANCommonInterfaceConfig",
    "IPConn": "WANIPConnection",
    "WANIPCn": "WANIPConnection",
    "IP6FCtl": "WANIPv6FirewallControl",
    "WANIP6FC": "WANIPv6FirewallControl",
}
ABSENT = re.compile(r"/DP\.xml$")
"""Services that the captured gateway had and this one has not: their paths are not in our description."""


@dataclass(frozen=True)
class Capture:
    client: str
    igd_version: IgdVersion
    data: bytes

    @property
    def request_line(self) -> str:
        return self.data.split(b"\r\n", 1)[0].decode()

    @property
    def method(self) -> str:
        return self.request_line.split(" ")[0]

    @property
    def path(self) -> str:
        return self.request_line.split(" ")[1]

    def __str__(self) -> str:
        action = re.search(rb'(?i)soapaction:.*#(\w+)"', self.data)
        what = action[1].decode() if action else self.path
        return f"{self.client}-{self.igd_version.value}-{self.method}-{what}"

    def to(self, fixture: HttpFixture) -> bytes:
        """The same request for our addresses and paths."""
        head, _, body = self.data.partition(b"\r\n\r\n")
        head = head.replace(self.path.encode(), our_path(self.igd_version, self.path).encode(), 1)
        head = head.replace(b"192.168.77.1:5000", f"127.0.0.1:{fixture.port}".encode())
        for address in (b"2001:db8:b::1", b"fd77:7777:7777:77::1"):
            head = head.replace(b"[%b]:5000" % address, f"[::1]:{fixture.port}".encode())
        return head + b"\r\n\r\n" + body


def our_path(igd_version: IgdVersion, path: str) -> str:
    if path.startswith(f"/{TOKEN}/") or path in served_documents():
        return path
    if path == "/rootDesc.xml":
        return f"/{igd_version.value}.xml"
    kind, _, name = path.removesuffix(".xml").rpartition("/")
    service = service_of(igd_version, NAMES.get(name, ""))
    if service is None:
        return path
    if kind == "/ctl":
        return control_path(TOKEN, igd_version, service)
    return event_path(TOKEN, igd_version, service) if kind == "/evt" else scpd_path(igd_version, service)


def load() -> list[Capture]:
    rows = [json.loads(line) for line in CAPTURES.read_text("utf-8").splitlines()]
    return [
        Capture(row["client"], IgdVersion(row["face"]), row["bytes"].encode("latin-1"))
        for row in rows
        if row["kind"] == "http"
    ]


def calls(matches: Callable[[Capture], bool]) -> list[object]:
    return [pytest.param(capture, id=str(capture)) for capture in load() if matches(capture)]


def prepare(gateway: FakeGateway, capture: Capture) -> None:
    """Puts in the table what the call reads or deletes: duplicates were left out of the captures."""
    found = {
        name.decode(): value.decode()
        for name, value in re.findall(rb"<(New\w+)>([^<]*)</New", body_of(capture.data))
    }
    if "NewInternalClient" in found:
        return
    if unique_id := re.search(rb"<UniqueID>(\d+)<", capture.data):
        for number in range(1, 1 + int(unique_id[1])):
            one = PINHOLE | {"InternalPort": str(80 + number)}
            call(gateway, IgdVersion.IGD2, "AddPinhole", "WANIPv6FirewallControl", **one)
    if "NewPortMappingIndex" in found:
        for port in range(21000, 21001 + int(found["NewPortMappingIndex"])):
            call(gateway, IgdVersion.IGD2, "AddPortMapping", **mapping_arguments(NewExternalPort=str(port)))
    elif "NewExternalPort" in found:
        for protocol in [found["NewProtocol"]] if found["NewProtocol"] else ["TCP", "UDP"]:
            call(
                gateway, IgdVersion.IGD2, "AddPortMapping", **mapping_arguments(**found | {"NewProtocol": protocol})
            )


def is_served(capture: Capture) -> bool:
    return not ABSENT.search(capture.path) and capture.path != "/"


@pytest.mark.parametrize("capture", calls(lambda c: c.method == "GET" and is_served(c)))
async def test_documents(capture: Capture) -> None:
    async with serving() as fixture:
        data = await fixture.send(capture.to(fixture))
        assert status_of(data) == 200
        assert header(data, "Transfer-Encoding") is None
        assert body_of(data) == served_documents()[our_path(capture.igd_version, capture.path)]


@pytest.mark.spec("IGD-070", "IGD-071", "IGD-072", "IGD-076", "IGD-091")
@pytest.mark.parametrize("capture", calls(lambda c: c.method == "POST" and is_served(c)))
async def test_calls(capture: Capture) -> None:
    async with serving() as fixture:
        prepare(fixture.gateway, capture)
        before = list(fixture.gateway.table)
        data = await fixture.send(capture.to(fixture))
        assert status_of(data) == 200, body_of(data)
        request = etree.fromstring(body_of(capture.data).strip()).find(f"{{{ENVELOPE}}}Body/*")
        answered = etree.fromstring(body_of(data)).find(f"{{{ENVELOPE}}}Body/*")
        assert request is not None
        assert answered is not None
        action = etree.QName(request).localname
        urn = etree.QName(request).namespace
        if action.endswith("Pinhole") and "WANIPConnection" in (urn or ""):
            urn = PINHOLES  # nat-port-mapper names the service whose control URL it uses
        assert answered.tag == f"{{{urn}}}{action}Response"
        if request.find("NewInternalClient") is not None:
            [mapping] = fixture.gateway.table
            assert mapping.internal.address == CLIENT
            assert mapping.description == (request.findtext("NewPortMappingDescription") or "")
            assert str(mapping.key.external_port) == request.findtext("NewExternalPort")
        elif request.find("InternalClient") is not None:
            [pinhole] = fixture.gateway.table
            assert str(pinhole.internal.address) == request.findtext("InternalClient")
        elif action == "DeletePortMapping":
            assert before
            assert fixture.gateway.table == []
        elif action.startswith("Get"):
            assert len(answered) > 0


@pytest.mark.parametrize("capture", calls(lambda c: "SUBSCRIBE" in c.method and is_served(c)))
async def test_subscriptions_reach_the_eventing_of_their_service(capture: Capture) -> None:
    async with serving() as fixture:
        assert status_of(await fixture.send(capture.to(fixture))) == 200
        name = NAMES[capture.path.rpartition("/")[2]]
        assert fixture.eventing.calls[0] == f"{capture.method} {capture.igd_version.value} {name} 127.0.0.1"


@pytest.mark.parametrize("capture", calls(lambda c: not is_served(c)))
async def test_requests_with_paths_of_the_captured_gateway(capture: Capture) -> None:
    async with serving() as fixture:
        data = await fixture.send(capture.to(fixture))
        assert status_of(data) == (405 if capture.path == "/" else 404)


def test_every_capture_is_in_one_of_the_tests() -> None:
    captures = load()
    assert len(captures) > 150
    assert {capture.method for capture in captures} == {"GET", "POST", "SUBSCRIBE", "UNSUBSCRIBE"}
    assert sum(map(is_served, captures)) > 130
