"""A real browser on the LAN shows pages that try to open a port (SR-9): chromium without a window.

Run by tests/browser.sh. Chromium's own check of requests to the local network would stop all of it before a byte is
sent. It is switched off here: the requests reach the daemon, and the daemon refuses them. The same pages get
through to a careless gateway: they do what they claim.
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.captures.record import requests
from tests.lab.end_to_end import ROUTER, Home, served_home
from tests.lab.packets import TCP, Capture, Packet, captured
from tests.lab.web_attacker import Careless, NameServer, Site, closing_all, page
from upnp_gw.lab import Host, Lab
from upnp_gw.lab.privilege import mount

pytestmark = pytest.mark.lab

PORT = 5000
MS_BIND = 4096
REPORT_S = 60.0
"""The longest time until a page has tried everything, seconds; it takes two."""
REBOUND_S = 120.0
"""The longest time that a browser may keep the attacker's address, seconds: chromium keeps it for a minute."""
SWITCHED_OFF = "LocalNetworkAccessChecks"
EVIL, REBIND = "evil.example", "rebind.example"
ACTION = '"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"'
CALL = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<u:AddPortMapping xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1"><NewRemoteHost></NewRemoteHost>'
    "<NewExternalPort>8080</NewExternalPort><NewProtocol>TCP</NewProtocol><NewInternalPort>8080</NewInternalPort>"
    "<NewInternalClient>192.168.77.20</NewInternalClient><NewEnabled>1</NewEnabled>"
    "<NewPortMappingDescription>a page</NewPortMappingDescription><NewLeaseDuration>600</NewLeaseDuration>"
    "</u:AddPortMapping></s:Body></s:Envelope>"
)
"""A mapping for the PC itself: no policy refuses it."""
SENT = {"POST": 11, "OPTIONS": 2, "GET": 1}
"""The requests of the other origin's page to the control and event URLs: calls, preflights, a web socket."""


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    """The PC asks the attacker's name server."""
    resolver, order = tmp_path / "resolv.conf", tmp_path / "nsswitch.conf"
    order.write_text("hosts: files dns\n")

    def with_resolver(lab: Lab) -> None:
        resolver.write_text(f"nameserver {lab.hosts['peer1'].address}\noptions timeout:1 attempts:2\n")
        for file in (resolver, order):
            if Path("/etc", file.name).exists():
                lab.hosts["pc"].call(mount, str(file), f"/etc/{file.name}", None, MS_BIND)

    with served_home(tmp_path, *ROUTER, before=with_resolver) as home:
        yield home


@contextmanager
def browser(host: Host, profile: Path, url: str, *more: str) -> Iterator[None]:
    """Chromium on this page, without a window."""
    argv = (
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--disable-features={SWITCHED_OFF}", f"--user-data-dir={profile}", *more, url),
    )
    env = {"HOME": str(profile.parent)}
    process = host.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    try:
        yield
    finally:
        host.stop(process)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request of the browser."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def from_a_browser(self) -> bool:
        return "origin" in self.headers or "sec-fetch-site" in self.headers


def sent(seen: Capture, client: IPv4Address) -> list[Sent]:
    """The browser's requests to the gateway; the test's own control points have no User-Agent."""
    found = []
    packets = [packet for packet in seen.packets if packet.source == client]
    for kind, data in requests(packets):
        line, *fields = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        if kind == "http" and "user-agent" in headers:
            method, path, _ = line.split(" ")
            found.append(Sent(method, path, headers))
    return found


def statuses(seen: Capture, client: IPv4Address) -> list[int]:
    """The HTTP statuses that the gateway sent to this host, in the order of its connections."""
    found: list[int] = []
    streams: dict[int, dict[int, bytes]] = {}
    for packet in filter(lambda p: answers(p, client), seen.packets):
        data = packet.payload[(packet.payload[12] >> 4) * 4 :]
        streams.setdefault(packet.ports[1], {})[int.from_bytes(packet.payload[4:8])] = data
    for stream in streams.values():
        whole = b"".join(data for _, data in sorted(stream.items()))
        found += [int(status) for status in re.findall(rb"(?m)^HTTP/1\.1 (\d{3}) ", whole)]
    return found


def answers(packet: Packet, client: IPv4Address) -> bool:
    return packet.outgoing and packet.protocol == TCP and packet.ports[0] == PORT and packet.target == client


def show(home: Home, seen: Capture, calls: list[Sent], results: dict[str, Any]) -> None:
    """For whoever runs it: what the browser sent, what was answered, what the page and the daemon say of it."""
    for one in calls:
        only = {n: v for n, v in one.headers.items() if n in ("host", "origin") or n.startswith("sec-fetch-")}
        print(f"  {one.method:9} {only}")
    print(f"  answered: {statuses(seen, home.pc.address)}")
    print(f"  the page: {results}")
    print(*(f"  the daemon: {line}" for line in home.daemon.output if "refused" in line), sep="\n")


def urls(made: Home) -> dict[str, str]:
    """The secret URLs of the daemon: these pages know them."""
    point = made.point("console")
    return {"control": point.control["WANIPConnection"], "events": point.events["WANIPConnection"]}


@pytest.mark.spec("SR-9")
@pytest.mark.parametrize("secure", [False, True], ids=["as-it-is", "with-sec-fetch"])
def test_a_page_of_another_origin_gets_nothing_done(home: Home, tmp_path: Path, secure: bool) -> None:
    """``secure``: the browser takes the gateway's origin for a secure one, and so sends Sec-Fetch-Site as well."""
    target, known = f"http://{home.gateway.address}:{PORT}", urls(home)
    index = page("elsewhere.html", target=target, soap=CALL, action=ACTION, **known)
    flags = [f"--unsafely-treat-insecure-origin-as-secure={target}"] if secure else []
    site = Site(home.peer, 80, {"/": index}, hop=target + known["control"])
    names = NameServer(home.peer, {EVIL: home.peer.address})
    with (
        closing_all(site, names),
        captured(home.gateway) as seen,
        browser(home.pc, tmp_path / "profile", f"http://{EVIL}/", *flags),
    ):
        results = json.loads(site.wait(lambda s: s.reports, REPORT_S))
    calls = [one for one in sent(seen, home.pc.address) if one.path != "/igd1.xml"]
    show(home, seen, calls, results)
    assert Counter(one.method for one in calls) >= Counter(SENT), "what the page sent reached the gateway"
    assert all(one.from_a_browser for one in calls)
    assert any("sec-fetch-site" in one.headers for one in calls) == secure
    assert set(statuses(seen, home.pc.address)) <= {200, 403, 405}
    assert statuses(seen, home.pc.address).count(200) <= 2, "the description alone, which the page cannot read"
    assert any("192.168.77.20: from-a-browser" in line for line in home.daemon.output)
    assert home.rows() == []
    readable = {name: what for name, what in results.items() if what in ("200", "open")}
    assert readable == {}, "the page reads no answer"


@pytest.mark.spec("SR-9")
def test_a_page_that_rebinds_its_name_gets_nothing_done(home: Home, tmp_path: Path) -> None:
    known = urls(home)
    index = page("rebinding.html", soap=CALL, action=ACTION, report=f"http://{EVIL}", **known)
    reports = Site(home.peer, 80, {})
    site = Site(home.peer, PORT, {"/": index})
    names = NameServer(home.peer, {EVIL: home.peer.address, REBIND: home.peer.address})
    with (
        closing_all(reports, names),
        captured(home.gateway) as seen,
        browser(home.pc, tmp_path / "profile", f"http://{REBIND}:{PORT}/"),
    ):
        results = rebound(home, site, reports, names, home.gateway.address)
    own = [one for one in sent(seen, home.pc.address) if one.headers["host"] == f"{REBIND}:{PORT}"]
    show(home, seen, own, results)
    assert results["own"] > 0, "the page spoke with the attacker's server first"
    assert [results[what]["status"] for what in ("call", "description", "subscribe")] == [403, 403, 403]
    assert all(results[what]["text"] == "" for what in ("call", "description", "subscribe"))
    assert [one.method for one in own[-3:]] == ["POST", "GET", "SUBSCRIBE"]
    assert "soapaction" in own[-3].headers, "the browser took it for its own origin: no preflight"
    assert any("192.168.77.20: host" in line for line in home.daemon.output)
    assert home.rows() == []


def rebound(home: Home, site: Site, reports: Site, names: NameServer, target: IPv4Address) -> dict[str, Any]:
    """The page's report after its name has been rebound to ``target``."""
    first = reports.wait(lambda s: s.alive, REPORT_S)
    assert first.startswith("1 0 "), first
    names.names[REBIND] = target
    site.close()
    home.pc.ip("addr add 192.168.77.21/24 dev eth0")  # with another address chromium looks every name up again
    results: dict[str, Any] = json.loads(reports.wait(lambda s: s.reports, REBOUND_S))
    return results


def test_both_pages_get_through_to_a_careless_gateway(home: Home, tmp_path: Path) -> None:
    """Else the tests above would say nothing: the console plays a gateway that looks at no header."""
    known, careless = urls(home), Careless(home.console, PORT)
    target = f"http://{home.console.address}:{PORT}"
    index = page("elsewhere.html", target=target, soap=CALL, action=ACTION, **known)
    rebinding = page("rebinding.html", soap=CALL, action=ACTION, report=f"http://{EVIL}", **known)
    reports = Site(home.peer, 80, {"/": index}, hop=target + known["control"])
    site = Site(home.peer, PORT, {"/": rebinding})
    names = NameServer(home.peer, {EVIL: home.peer.address, REBIND: home.peer.address})
    with closing_all(careless, reports, names):
        with browser(home.pc, tmp_path / "one", f"http://{EVIL}/"):
            reports.wait(lambda s: s.reports, REPORT_S)
        assert len(careless.carried_out) >= 10
        careless.carried_out.clear()
        reports.reports.clear()
        with browser(home.pc, tmp_path / "two", f"http://{REBIND}:{PORT}/"):
            results = rebound(home, site, reports, names, home.console.address)
        assert results["call"]["status"] == 200
        assert len(careless.carried_out) >= 1
