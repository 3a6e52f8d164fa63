"""Every policy that is written somewhere for people to copy loads, and its tests can fail."""

import re

import pytest

from tests import ROOT
from tests.fixtures.address_lists import ListsInMemory
from tests.fixtures.policies import TODAY
from upnp_gw.gate.build import build_policy
from upnp_gw.gate.builtin import PROFILES, profile_text
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.file_tests import case_verdict
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.invariant_checks import Source, invariant_results
from upnp_gw.gate.load import load_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.toml import parse_tables

PAGES = [ROOT / "docs" / "policy-guide.md", ROOT / "docs" / "policy-semantics.md", ROOT / "README.md"]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
FILES = sorted((ROOT / "examples" / "policies").glob("*.toml"))
ALL = {"name": "all", "who": "*", "int_ports": ["1-65535"], "ext_ports": ["1-65535"], "for": ["0.0.0.0/0", "::/0"]}


def blocks() -> list[tuple[str, str]]:
    """(where, TOML) of each policy on the pages."""
    found = []
    for page in [*PAGES, *GUIDES]:
        text = page.read_text("utf-8")
        for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", text, re.S | re.M)):
            if page in PAGES or block.startswith("version = 1"):
                found.append((f"{page.name}-{number}", block))
    return found


BLOCKS = blocks()
LISTS = ListsInMemory({"office.txt": "203.0.113.0/24\n2001:db8::/32\n", "blocklist.txt": "198.51.100.0/24\n"})
"""The address lists that pages name."""


@pytest.mark.parametrize("text", [text for _, text in BLOCKS], ids=[where for where, _ in BLOCKS])
def test_a_policy_on_a_page_loads_and_its_tests_pass(text: str) -> None:
    loaded = load_text(text, "page", TODAY, LISTS)
    assert not loaded.warnings
    assert loaded.policy.cases


TEAMS = (ROOT / "examples" / "policies" / "teams.toml").read_text("utf-8")


@pytest.mark.parametrize(
    "text", [*(text for _, text in BLOCKS), TEAMS], ids=[*(where for where, _ in BLOCKS), "teams.toml"]
)
def test_each_of_its_tests_can_fail(text: str) -> None:
    """Turned round one by one, every test keeps the file out."""
    for found in re.finditer(r'^want = "(\w+)"((?:\n(?:ttl|rule|ext|remote) .*)*)', text, re.M):
        other = "ask" if found[1] == "allow" else "allow"
        turned = f'{text[: found.start()]}want = "{other}"{text[found.end() :]}'
        with pytest.raises(ConfigError, match="failed: wanted"):
            load_text(turned, "page", TODAY, LISTS)


INVARIANTS = [*BLOCKS, *((path.name, path.read_text("utf-8")) for path in FILES)]


@pytest.mark.parametrize("text", [text for _, text in INVARIANTS], ids=[where for where, _ in INVARIANTS])
def test_each_of_its_invariants_can_fail(text: str) -> None:
    """A never, if everybody may open every port; an always, if nobody may open any."""
    raw = parse_tables(text, "page")
    for kind, grants in (("never", [ALL]), ("always", [])):
        tables = {**raw, "grant": grants, "forbid": [], "test": [], "mode": "enforce"}
        policy = with_indexes(build_policy(tables, "page", lists=LISTS))
        for result in invariant_results(policy, Source(tables, "page"), None, TODAY):
            if result.proof.invariant.kind == kind:
                assert result.proof.standing == "violated", result.proof.invariant.name


def test_the_recipes_of_the_guide_and_the_examples_have_invariants() -> None:
    """But for the one in observe mode, which breaks most."""
    bare = [text for where, text in INVARIANTS if not where.startswith(("policy-semantics", "README"))]
    bare = [text for text in bare if not re.search(r"^\[\[(never|always)\]\]", text, re.M)]
    assert [text for text in bare if 'mode = "observe"' not in text] == []


def test_the_pages_have_the_recipes() -> None:
    guide = PAGES[0].read_text("utf-8")
    for recipe in ("Consoles", "Torrent", "NAS", "Cluster", "Guests", "Ask me"):
        assert f"\n## {recipe}\n" in guide
    assert len(BLOCKS) >= 9


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_commented_tested_and_the_example_of_its_name(profile: str) -> None:
    text = profile_text(profile)
    loaded = load_text(text, profile, TODAY)
    assert not loaded.warnings
    assert len(loaded.policy.cases) >= 5
    assert text.startswith("# ")
    assert (ROOT / "examples" / "policies" / f"{profile}.toml").read_text("utf-8") == text


def test_the_policy_of_three_teams_has_twelve_services_with_owners() -> None:
    loaded = load_text(TEAMS, "teams.toml", TODAY)
    assert not loaded.warnings
    grants = loaded.policy.grants
    assert len(grants) == 12
    assert len({grant.owner for grant in grants}) == 3
    assert all(grant.owner and grant.reason and grant.review_by and grant.zone for grant in grants)
    assert {case.want_rule for case in loaded.policy.cases} >= {grant.name for grant in grants}


def test_the_file_of_the_specification_means_what_it_says() -> None:
    text = (ROOT / "tests" / "gate" / "home_of_the_specification.toml").read_text("utf-8")
    more = """
[[test]]
name = "a guest opens nothing"
from = { zone = "guest" }
request = { proto = "udp", int = 3074, ext = 3074 }
want = "deny"
rule = "guests-open-nothing"
[[test]]
name = "remote desktop is never opened, by a console neither"
from = { device = "ps5" }
request = { proto = "tcp", int = 3389, ext = 3389 }
want = "deny"
rule = "never-admin-ports"
[[test]]
name = "the NAS by day"
from = { device = "nas" }
request = { proto = "tcp", int = 443, ext = 443 }
want = "allow"
rule = "nas-web"
at = "22:59"
[[test]]
name = "not by night"
from = { device = "nas" }
request = { proto = "tcp", int = 443, ext = 443 }
want = "deny"
at = "23:00"
[[test]]
name = "not a fifth time"
from = { device = "nas", holds = 4 }
request = { proto = "tcp", int = 443, ext = 443 }
want = "deny"
[[test]]
name = "somebody else is a question"
from = { ip = "192.168.1.77" }
request = { proto = "tcp", int = 8080, ext = 8080 }
want = "ask"
[[test]]
name = "a printer is known by its address, and has no grant"
from = { device = "printer" }
request = { proto = "tcp", int = 9100, ext = 9100 }
want = "ask"
"""
    loaded = load_text(text + more, "specification", TODAY)
    assert [str(finding) for finding in loaded.warnings] == [
        "grant nas-web: allows no ip6 request: remote has no IPv6 prefix",
    ]
    assert len(loaded.policy.cases) == 9
    assert case_verdict(loaded.policy, loaded.policy.cases[1], "here")[0].outcome is Outcome.ALLOW


def test_with_its_node_named_the_cluster_waits_for_approval() -> None:
    text = (ROOT / "tests" / "gate" / "home_of_the_specification.toml").read_text("utf-8")
    named = (
        text
        + """
[[test]]
name = "ingress"
from = { device = "k8s-node" }
request = { proto = "tcp", int = 443, ext = 443, for = "10.0.40.3" }
want = "ask"
rule = "cluster-ingress"
"""
    )
    assert len(load_text(named, "specification", TODAY).warnings) == 1
