"""The operator's pages, on a real gateway over a memory firewall: what they show, what their forms do, and texts of
clients that are attacks."""

import re
from collections.abc import AsyncIterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fixtures.gateway import PC, PC_IP
from tests.fixtures.page_home import LAPTOP_IP, POLICY, Browser, PageHome, page_home
from upnp_gw.engine.above_changes import lose
from upnp_gw.engine.environment import FixedLeases
from upnp_gw.model.dhcp import Leases
from upnp_gw.model.mapping import Transport, Via

PAGES = (
    "/",
    "/devices",
    "/devices/console",
    f"/devices/{PC}",
    "/mappings",
    "/mappings/m1",
    "/mappings/m1/end",
    "/mappings/m1/longer",
    "/questions",
    "/questions/1/approve",
    "/questions/1/deny?remember=1",
    "/log",
    "/log?verdict=ask",
    "/log/d1",
    "/log/d2",
    "/policy",
    "/policy/suggest",
    "/policy/stale",
    "/policy/try",
    "/policy/try?who=pc&internal_port=22",
)
ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></textarea></pre><svg onload=alert(1)>",
    "javascript:alert(1)//{{7*7}}{% raw %}",
    "\u202ereversed\u200b\x1b[31m\x00",
)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[PageHome]:
    async with page_home(tmp_path) as home:
        yield home


class Parsed(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.spec("SR-46")
async def test_every_page_is_whole_and_has_no_code_and_nothing_from_elsewhere(home: PageHome) -> None:
    await home.home.granted(3074)
    await home.home.refused(8080, PC_IP, description="web")
    async with home.operator() as operator:
        for path in PAGES:
            async with operator.session.get(home.url + path) as answer:
                text = await answer.text()
                assert answer.status == 200, (path, text)
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert answer.headers["X-Frame-Options"] == "DENY"
                assert answer.headers["Cache-Control"] == "no-store"
                assert "Access-Control-Allow-Origin" not in answer.headers
            page = Parsed(text)
            names = [tag for tag, _ in page.tags]
            assert (names.count("main"), names.count("h1"), names.count("title")) == (1, 1, 1), path
            scripts = [attributes for tag, attributes in page.tags if tag == "script"]
            assert [sorted(attributes) for attributes in scripts] == [["defer", "src"]]
            for tag, attributes in page.tags:
                assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, tag)
                for name in ("href", "src", "action"):
                    assert (attributes.get(name) or "/").startswith(("/", "#")), (path, tag, attributes)
            assert text.rstrip().endswith("</html>")


@pytest.mark.spec("SR-46")
async def test_texts_of_clients_are_shown_and_do_nothing(home: PageHome) -> None:
    """Descriptions and DHCP names, the texts that a client chooses, and what somebody writes into a search."""
    home.home.around.leases = FixedLeases(NamedByAttack())
    for number, attack in enumerate(ATTACKS):
        await home.home.granted(3074 + number, description=attack)
        await home.home.refused(8080 + number, PC_IP, description=attack)
    pages = [*PAGES, *(f"/mappings/m{n + 1}" for n in range(len(ATTACKS))), f"/devices/{LAPTOP_IP}"]
    pages += [
        path + quote(attack) for attack in ATTACKS for path in ("/log?device=", "/mappings?find=", "/devices/")
    ]
    shown: set[str] = set()
    async with home.operator() as operator:
        for path in pages:
            _, text = await operator.get(path)
            page = Parsed(text)
            names = [tag for tag, _ in page.tags]
            assert names.count("script") == text.count("<html"), path
            assert not {"img", "b x", "textarea"} & set(names), path
            assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")], path
            assert "javascript:alert(1)//49" not in text
            assert not {"\u202e", "\u200b", "\x1b", "\x00"} & set(text), path
            shown |= {attack for attack in ATTACKS for part in page.texts if attack in part}
    assert shown >= {attack for attack in ATTACKS if attack.isprintable()}, "a reader sees them as they are"


class NamedByAttack(Leases):
    """Every device calls itself so in DHCP."""

    def name_of(self, *_: object) -> str | None:
        return ATTACKS[1]


async def test_the_overview_and_lists_say_what_there_is(home: PageHome) -> None:
    await home.home.granted(3074, transport=Transport.UDP, via=Via.IGD2, description="game")
    await home.home.refused(8080, PC_IP)
    for port in (22, 23, 445, 3389, 5900):
        await home.home.refused(port, PC_IP)
    async with home.operator() as operator:
        _, text = await operator.get("/")
        assert "11.22.33.44" in text
        assert "It may be infected." in text
        assert "asks for" in text
        _, text = await operator.get("/devices")
        assert "frozen" in text
        _, text = await operator.get("/mappings?find=game")
        assert "1 open port" in text
        _, text = await operator.get("/mappings?find=nothing-like-it")
        assert "No open port fits." in text
        _, text = await operator.get(f"/devices/{PC}")
        assert "never-admin-ports" in text
        assert "Everything else asks you." in text
        _, text = await operator.get("/log?verdict=deny&port=445")
        assert text.count('class="row decision"') == 1
        _, text = await operator.get("/log?transport=udp")
        assert text.count('class="row decision"') == 1
        _, text = await operator.get("/log?port=many")
        assert "a port 1 to 65535" in text
        _, text = await operator.get("/log?since=2020")
        assert "row decision" in text, "an unknown field is left out"
        status, text = await operator.get("/log/d999")
        assert status == 404
        _, text = await operator.get("/policy")
        assert "1 passes" in text


async def test_both_hops_are_shown_where_there_is_a_gateway_above(tmp_path: Path) -> None:
    async with page_home(tmp_path, behind=True) as home:
        await home.home.granted(3074)
        async with home.operator() as operator:
            _, text = await operator.get("/")
            assert "double NAT: 192.168.1.1 answers over pcp; outside is 198.51.100.7" in text
            _, text = await operator.get("/mappings/m1")
            for part in (
                "198.51.100.7, 3074",
                "Here, below 192.168.1.1",
                "192.168.1.44, 3074",
                "granted, over pcp",
            ):
                assert part in text
            await home.home.gateway.submit(partial(lose, home.home.decider, ["m1"], "the gateway above is gone"))
            _, text = await operator.get("/mappings/m1")
            assert "the gateway above is gone" in text


async def test_a_device_is_named_allowed_blocked_and_released_and_each_shows_its_toml_first(home: PageHome) -> None:
    async with home.operator() as operator:
        _, text = await operator.get(f"/devices/{PC_IP}/allow?ports=8080, 9000-9010&transport=tcp&for=1d")
        shown = toml_of(text)
        assert 'int_ports = [8080, "9000-9010"]' in shown
        assert not home.policy_updates.files.machine.exists(), "to look writes nothing"
        status, path, text = await operator.post(
            f"/devices/{PC_IP}/allow", ports="8080, 9000-9010", transport="tcp", **{"for": "1d"}
        )
        assert (status, path) == (200, f"/devices/{PC_IP}")
        assert without_times(toml_of(text)) == without_times(shown)
        assert without_times(shown) in without_times(home.policy_updates.files.machine.read_text())
        await home.home.granted(8080, PC_IP)

        _, text = await operator.get(f"/devices/{PC_IP}/block?for=4h")
        assert 'name = "block-pc"' in toml_of(text)
        assert len(home.home.ports) == 1
        _, _, text = await operator.post(f"/devices/{PC_IP}/block", **{"for": "4h"})
        assert "1 port was closed." in text
        assert home.home.ports == set()

        _, text = await operator.get("/devices/pc/release")
        assert 'name = "block-pc"' in toml_of(text)
        _, _, text = await operator.post("/devices/pc/release")
        assert 'name = "block-pc"' in toml_of(text)
        assert "block-pc" not in home.policy_updates.files.machine.read_text()

        _, text = await operator.get("/rules/allow-pc/retract")
        assert 'name = "allow-pc"' in toml_of(text)
        await operator.post("/rules/allow-pc/retract")
        assert "allow-pc" not in home.policy_updates.files.machine.read_text()
        await home.home.granted(3074)
        _, _, text = await operator.post("/devices/console/revoke")
        assert "1 port was closed." in text
        assert home.home.ports == set()


async def test_a_name_and_fields_that_are_not_accepted(home: PageHome) -> None:
    async with home.operator() as operator:
        _, text = await operator.get(f"/devices/{LAPTOP_IP}/name?name=laptop")
        assert "[device.laptop]" in toml_of(text)
        await operator.post(f"/devices/{LAPTOP_IP}/name", name="laptop")
        assert "[device.laptop]" in home.policy_updates.files.machine.read_text()
        for query, said in (
            ("ports=http", "a range such as 8000-8010"),
            ("ports=70000", "ports 1 to 65535"),
            ("for=2y", "Choose one of the times."),
        ):
            _, text = await operator.get(f"/devices/laptop/allow?{query}")
            assert said in text
            assert "Write this rule" not in text
        status, _, text = await operator.post("/devices/laptop/allow", ports="http")
        assert status == 400
        status, _, text = await operator.post("/devices/pc/name", name="<b>")
        assert status == 400
        status, _ = await operator.get("/devices/10.9.9.9")
        assert status == 404


async def test_a_question_is_approved_or_denied_by_the_rule_that_was_shown(home: PageHome) -> None:
    await home.home.refused(8080, PC_IP, description="web")
    await home.home.refused(9090, PC_IP)
    async with home.operator() as operator:
        _, text = await operator.get("/questions/1/approve?for=1d")
        shown = toml_of(text)
        assert "ext_ports = [8080]" in shown
        status, path, text = await operator.post("/questions/1/approve", **{"for": "1d"})
        assert (status, path) == (200, "/mappings/m1")
        assert without_times(toml_of(text)) == without_times(shown)
        assert home.home.ports == {(Transport.TCP, 8080)}
        status, text = await operator.get("/questions/1/approve")
        assert status == 404
        _, text = await operator.get("/questions/2/deny")
        assert "Nothing is written." in text
        _, text = await operator.get("/questions/2/deny?remember=1")
        assert 'name = "no-pc-tcp-9090"' in toml_of(text)
        _, _, text = await operator.post("/questions/2/deny", remember="1", **{"for": ""})
        assert 'name = "no-pc-tcp-9090"' in toml_of(text)
        assert "No question waits." in text


async def test_a_mapping_is_held_open_for_longer_and_ended(home: PageHome) -> None:
    await home.home.granted(3074, lifetime=600, description="game")
    async with home.operator() as operator:
        _, _, text = await operator.post("/mappings/m1/longer", **{"for": "1d"})
        assert "You hold the port open." in words_of(text)
        (row,) = home.home.decider.ledger.table
        assert row.until - home.home.clock.now.boot > 80_000
        assert row.description == "game"
        status, path, _ = await operator.post("/mappings/m1/end")
        assert (status, path) == (200, "/mappings")
        status, text = await operator.get("/mappings/m1")
        assert status == 404


async def test_an_approval_that_crosses_an_invariant_is_refused_with_its_name(home: PageHome) -> None:
    await home.home.refused(8080, PC_IP)
    file = home.policy_updates.files.operator
    assert file is not None
    never = '[[never]]\nname = "no web"\nrequest = { int = 8080 }\n'
    narrow = 'name = "console-games"\nint_ports = [3074]'
    file.write_text(POLICY.replace('"ask"', '"deny"').replace('name = "console-games"', narrow) + never)
    await home.policy_updates.reload()
    async with home.operator() as operator:
        _, text = await operator.get("/questions/1/approve")
        assert 'crosses never "no web"' in words_of(text)
        assert "int_ports" not in text
        status, _, text = await operator.post("/questions/1/approve", **{"for": "1d"})
        assert status == 409
        assert 'crosses never "no web"' in words_of(text)
        assert home.home.ports == set()
        _, text = await operator.get("/devices/pc/allow?ports=8080")
        assert 'crosses never "no web"' in words_of(text)
        assert not home.policy_updates.files.machine.exists()


async def test_a_mapping_that_is_held_across_an_invariant_says_so(home: PageHome) -> None:
    """No request may have the lease for longer than an hour; the operator may."""
    never = '[[never]]\nname = "an hour at most"\nrequest = { int = 3074 }\nunless = { lease = "1h" }\n'
    limits = '[limits]\nmax_hold = "1h"\nmax_ttl = "1h"\n'
    text = POLICY[: POLICY.index("[limits]")] + limits + POLICY[POLICY.index("[device.console]") :] + never
    file = home.policy_updates.files.operator
    assert file is not None
    file.write_text(text)
    await home.policy_updates.reload()
    await home.home.granted(3074, lifetime=600)
    async with home.operator() as operator:
        _, _, text = await operator.post("/mappings/m1/longer", **{"for": "1d"})
        assert 'crosses never "an hour at most"' in words_of(text)
        assert f"{file}:" in words_of(text)


async def test_a_gateway_that_does_not_answer_is_said_so_and_comes_back(tmp_path: Path) -> None:
    async with page_home(tmp_path, control_dir=tmp_path / "nowhere") as home, home.operator() as operator:
        status, text = await operator.get("/")
        assert status == 503
        assert "upnp-gw is not running" in text
        status, _, text = await operator.post("/mappings/m1/end", token=await token_of(operator))
        assert status == 503


async def token_of(operator: Browser) -> str:
    _, text = await operator.get("/")
    return text.partition('name="form_token" value="')[2].partition('"')[0]


def words_of(text: str) -> str:
    """The words of a page that a reader sees, without its navigation."""
    return " ".join("".join(Parsed(text.partition("<main")[2]).texts).split())


def toml_of(text: str) -> str:
    """The first TOML of a page, as a reader sees it."""
    found = re.search(r'<pre class="toml"[^>]*><code>(.*?)</code></pre>', text, re.DOTALL)
    assert found is not None, words_of(text)
    return "".join(Parsed(found[1]).texts)


def without_times(toml: str) -> str:
    return re.sub(r"until = \S+", "until", toml).strip()


async def test_the_first_page_is_small_with_a_thousand_mappings(home: PageHome) -> None:
    """With its style and script under 60 kB; so is each list."""
    for number in range(1000):
        await home.home.granted(10_000 + number, description=f"game {number}")
    async with home.operator() as operator:
        _, text = await operator.get("/")
        assert "1,000" in text
        files = re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
        assert len(files) == 3
        sizes = [len(text), *[len((await operator.get(url))[1]) for url in files]]
        assert sum(sizes) < 60_000, sizes
        for path in ("/mappings", "/mappings?page=20", "/devices/console", "/log"):
            _, text = await operator.get(path)
            assert len(text) < 60_000, path
