"""The page in a real browser: rules of accessibility, widths, both themes, live parts, no script at all.

``UPNP_GW_SCREENSHOTS=docs/page`` keeps the screenshots there, which is how those of docs/page.md are made.
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from tests.fixtures.chromium import Chromium, Theme
from tests.fixtures.gateway import PC_IP, GatewayFixture
from tests.fixtures.page_home import PageHome, lan_page, page_home
from tests.fixtures.waiting import EVENT_S
from upnp_gw import api
from upnp_gw.engine.evidence_collector import opening_of
from upnp_gw.ledger.traffic import SLOT_S, SLOTS
from upnp_gw.model.mapping import Transport, Usage, Via
from upnp_gw.model.network import Neighbour

pytestmark = pytest.mark.lab

T = TypeVar("T")
PAGES = {
    "overview": "/",
    "devices": "/devices",
    "device": "/devices/nas",
    "ports": "/mappings",
    "port": "/mappings/m3",
    "questions": "/questions",
    "approve": "/questions/1/approve",
    "block": "/devices/console/block",
    "log": "/log",
    "decision": "/log/d1",
    "policy": "/policy",
    "suggest": "/policy/suggest",
    "try": "/policy/try?who=pc&internal_port=22",
    "lan": "",
}
"""Name -> path in the operator's part; "": the page of a device."""
WIDTHS = (360, 768, 1280)
THEMES: tuple[Theme, ...] = ("light", "dark")
KEPT: dict[str, tuple[tuple[Theme, int], ...]] = {
    name: (("light", width), ("dark", width))
    for name, width in {
        **dict.fromkeys(("overview", "device", "port", "decision", "log"), 1280),
        **dict.fromkeys(
            ("devices", "ports", "questions", "approve", "block", "policy", "suggest", "try", "lan"), 768
        ),
    }.items()
}
KEPT |= {name: (*KEPT[name], ("light", 360), ("dark", 360)) for name in ("overview", "port", "questions", "lan")}
"""Name -> themes and widths of the screenshots of a page."""
USUAL_PLACE = """
for (const each of document.querySelectorAll("dd, dd *"))
  if (!each.children.length) each.textContent = each.textContent.replace(arguments[0], "/etc/upnp-gw");
"""
"""Screenshots show the policy file where it usually is."""
NAS = ("00:11:32:00:00:02", "192.168.77.40")
CAMERA = ("b8:27:eb:12:34:56", "192.168.77.41")
INFECTED = ("02:00:00:00:00:66", "192.168.77.55")
POLICY = """
version = 1
default = "ask"

[limits]
incident_after = 5

[device.console]
mac = ["ac:89:95:00:00:01"]

[device.pc]
mac = ["02:00:00:00:00:77"]

[device.nas]
mac = ["00:11:32:00:00:02"]

[[forbid]]
name = "never-admin-ports"
int_ports = [22, 23, 135, "137-139", 445, 3389, 5900]

[[grant]]
name = "console-games"
who = "console"
proto = ["udp"]
max_mappings = 4
owner = "Ada"
reason = "games"
review_by = 2099-01-01

[[grant]]
name = "nas-web"
who = "nas"
int_ports = [443, 51413]
max_mappings = 4
owner = "Ada"
reason = "photos and downloads"
review_by = 2099-01-01

[[test]]
name = "the console opens its port"
from = { device = "console" }
request = { proto = "udp", int = 3074 }
want = "allow"

[[test]]
name = "no remote desktop"
from = { device = "pc" }
request = { proto = "tcp", int = 3389 }
want = "deny"
"""


def neighbours(home: GatewayFixture) -> None:
    for mac, address in (NAS, CAMERA, INFECTED):
        home.around.neighbours.learn(Neighbour(ip_address(address), mac, "lan0"))


async def lived_in(home: PageHome) -> None:
    """Has something to show on every page."""
    made = home.home
    await made.map(3074, transport=Transport.UDP, via=Via.IGD2, description="Xbox (Halo)", lifetime=7200)
    await made.map(3544, transport=Transport.UDP, via=Via.IGD2, description="Teredo", lifetime=7200)
    web = await made.granted(443, NAS[1], description="NAS photos", lifetime=86400)
    torrent = await made.granted(51413, NAS[1], description="Transmission 4.0.5", lifetime=3600)
    await made.map(8554, CAMERA[1], description="RTSP camera", lifetime=86400)
    await made.map(32400, PC_IP, description="Plex Media Server", lifetime=86400)
    for port in (22, 23, 445, 3389, 5900):
        await made.map(port, INFECTED[1], description="svc")
    wall = made.clock.now.wall
    for row, scale in ((web.mapping, 2_000_000), (torrent.mapping, 300_000)):
        counts = [round(scale * (1 + math.sin(slot / 15)) ** 3) for slot in range(SLOTS)]
        for slot, count in enumerate(counts[::-1]):
            made.evidence_collector.traffic.add(opening_of(row), wall - slot * SLOT_S, count)
        made.decider.ledger.usage[row.id] = Usage(412, sum(counts), 90_000, wall - 40)
    home.checks[:] = [
        api.Check(name="forwarding", outcome="ok", finding="IPv4 is forwarded"),
        api.Check(name="ports", outcome="ok", finding="ports 1900, 5000 and 5351 are free"),
        api.Check(
            name="ipv6",
            outcome="warn",
            finding="another table drops forwarded IPv6: pinholes open nothing",
            remedy="nft add rule inet filter forward ct status dnat accept",
        ),
    ]


async def driven(work: Callable[[], T]) -> T:
    """Selenium blocks: it has a thread of its own."""
    return await asyncio.to_thread(work)


def signed_in(browser: Chromium, home: PageHome) -> None:
    browser.driver.get(home.link())
    browser.click("button.main")
    WebDriverWait(browser.driver, EVENT_S).until(lambda _: browser.driver.current_url == f"{home.url}/")


async def test_every_page_in_both_themes_and_three_widths(tmp_path: Path) -> None:
    """Nothing is wider than the screen, axe-core finds nothing, the console has no complaint."""
    pictures = Path(os.environ.get("UPNP_GW_SCREENSHOTS", tmp_path / "pictures"))

    def look(browser: Chromium, home: PageHome, lan: str) -> None:
        signed_in(browser, home)
        urls = {name: home.url + path if path else lan for name, path in PAGES.items()}
        for theme in THEMES:
            browser.theme(theme)
            for name, url in urls.items():
                for width in WIDTHS if theme == "light" else (1280,):
                    browser.size(width)
                    browser.driver.get(url)
                    assert browser.script("return document.documentElement.scrollWidth") <= width, (name, width)
                assert browser.violations() == [], (name, theme)
                assert browser.complaints() == [], (name, theme)
        for name, shots in KEPT.items():
            for theme, width in shots:
                browser.theme(theme)
                browser.size(width)
                browser.driver.get(urls[name])
                browser.script(USUAL_PLACE, str(tmp_path))
                browser.picture(pictures / f"{name}-{theme}-{width}.webp", width)

    async with page_home(tmp_path, POLICY, neighbours) as home:
        await lived_in(home)
        async with aclosing_browser(tmp_path / "profile") as browser, lan_page(home, NAS[1]) as lan:
            await driven(lambda: look(browser, home, lan))
        assert await driven(lambda: len(list(pictures.glob("*.webp")))) == sum(map(len, KEPT.values()))


async def test_a_change_comes_by_itself_and_without_script_the_pages_and_forms_work(tmp_path: Path) -> None:
    def first(browser: Chromium, home: PageHome) -> None:
        signed_in(browser, home)
        browser.driver.get(f"{home.url}/questions")
        assert "No question waits." in browser.text()

    def came(browser: Chromium) -> None:
        WebDriverWait(browser.driver, EVENT_S).until(lambda _: "asks for" in browser.text())
        assert "1 question waits" in str(browser.script("return document.querySelector('.dot').ariaLabel"))
        assert browser.driver.switch_to.active_element.get_attribute("id") == "kept", "the focus stays"

    def focus(browser: Chromium) -> None:
        browser.script("const a = document.querySelector('.brand'); a.id = 'kept'; a.focus()")

    def without_script(browser: Chromium, home: PageHome) -> None:
        browser.size(1280)
        browser.without_script()
        for name, path in PAGES.items():
            if path and name not in ("port", "device", "decision", "block"):
                browser.driver.get(home.url + path)
                assert len(browser.text()) > 40, name
        browser.driver.get(f"{home.url}/questions/1/approve")
        assert "ext_ports" in browser.text(".toml")
        browser.click("form[method=post] button.main")
        WebDriverWait(browser.driver, EVENT_S).until(lambda _: "The port is open." in browser.text())

    async with page_home(tmp_path) as home, aclosing_browser(tmp_path / "profile") as browser:
        await driven(lambda: first(browser, home))
        await driven(lambda: focus(browser))
        await home.home.refused(8080, PC_IP, description="web")
        await driven(lambda: came(browser))
        await driven(lambda: without_script(browser, home))
        assert home.home.ports == {(Transport.TCP, 8080)}


async def test_a_description_that_is_an_attack_runs_nothing_in_a_browser(tmp_path: Path) -> None:
    attack = "<img src=x onerror=document.title=1><script>document.title=1</script><svg onload=document.title=1>"

    def look(browser: Chromium, home: PageHome) -> None:
        signed_in(browser, home)
        for path in ("/mappings", "/mappings/m1", "/questions", "/log", "/", f"/mappings?find={attack}"):
            browser.driver.get(home.url + path)
            WebDriverWait(browser.driver, EVENT_S).until(lambda _: "upnp-gw" in browser.driver.title)
            assert browser.complaints() == []
            assert browser.script("return document.scripts.length") == 1

    async with page_home(tmp_path) as home, aclosing_browser(tmp_path / "profile") as browser:
        await home.home.granted(3074, description=attack)
        await home.home.refused(8080, PC_IP, description=attack)
        await driven(lambda: look(browser, home))


@asynccontextmanager
async def aclosing_browser(profile: Path) -> AsyncIterator[Chromium]:
    browser = await driven(lambda: Chromium(profile))
    try:
        yield browser
    finally:
        await driven(browser.quit)
