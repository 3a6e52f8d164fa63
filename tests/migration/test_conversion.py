"""Whole configuration files: each line has a remark, the policy is proved, and both files are accepted."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.migration.small_lines import CLIENTS, PORTS, TODAY, facts, plain_answer, request, seeds
from tests.setup.dumps import interfaces
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.load import load_text
from upnp_gw.migration.config_text import configuration
from upnp_gw.migration.conversion import Conversion, convert
from upnp_gw.migration.reading import read_original
from upnp_gw.migration.remarks import Fate
from upnp_gw.migration.settings import Chosen
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import PortChoice

CASES = sorted((Path(__file__).parent / "cases").glob("*.conf"))
POLICY = Path("/etc/upnp-gw/policy.toml")
LINKS = interfaces(
    "eth9 11.0.0.2/24\nbr0 192.168.50.1/24\nbr1 192.168.2.1/24\nbr2 192.168.9.1/24",
)
DIFFERENT = {"openwrt-cgnat", "padavan-router", "patterns", "vpn-container"}
"""Those with requests that the policy answers differently."""
MISSING = {"debian-12-as-installed"}


def converted(path: Path, others: bool = False) -> Conversion:
    original = read_original(path.read_bytes(), path.name)
    return convert(original, Chosen(links=LINKS, others=others), POLICY, TODAY)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_file_like_those_in_public(path: Path) -> None:
    found = converted(path)
    original = found.original
    text = path.read_text("utf-8").splitlines()
    lines = {number for number, line in enumerate(text, 1) if line.strip() and not line.strip().startswith("#")}
    assert {remark.line.number for remark in found.remarks} == lines
    assert all(remark.line.text == text[remark.line.number - 1].strip() for remark in found.remarks)
    assert (found.differences != ()) == (path.stem in DIFFERENT)
    assert bool(found.carried.missing) == (path.stem in MISSING)
    assert load_text(found.policy, "policy.toml", TODAY).policy.grants or original.permissions
    configuration(None, "config.toml", found.carried, POLICY)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 12
    assert {path.stem for path in CASES} >= DIFFERENT | MISSING


@pytest.mark.parametrize("name", ["padavan-router", "vpn-container"])
def test_asking_for_others_is_equal_on_request(name: str) -> None:
    path = next(path for path in CASES if path.stem == name)
    assert converted(path, others=True).differences == ()


def test_asking_for_others_over_one_protocol_is_not_equal() -> None:
    """A grant with ``for`` holds for every protocol; ``pcp_allow_thirdparty`` is about PCP alone."""
    path = next(path for path in CASES if path.stem == "openwrt-cgnat")
    kinds = {one.kind.value for one in converted(path, others=True).differences}
    assert kinds == {"opens more"}


def test_a_line_that_changes_nothing_says_so() -> None:
    path = next(path for path in CASES if path.stem == "forum-deny-first")
    last = converted(path).remarks[-1]
    assert (last.fate, last.why) == (Fate.CARRIED, "it changes nothing: other lines decide")


def test_too_many_lines_for_a_proof_are_an_error() -> None:
    rows = [
        f"{'deny' if n % 2 else 'allow'} {n}-{60000 - n} 10.{n % 200}.0.0/{8 + n % 9} {n}-{50000 + n}"
        for n in range(900)
    ]
    data = "\n".join(["ext_ifname=eth0", "listening_ip=br0", *rows]).encode()
    with pytest.raises(ConfigError, match="the 900 permission lines take too many steps"):
        convert(read_original(data, "m.conf"), Chosen(), POLICY, TODAY)


@pytest.mark.parametrize("first", [0, 20])
def test_random_lines_have_the_same_answers_where_hosts_ask_for_others(first: int) -> None:
    """Over UPnP alone: a grant with ``for`` is for every protocol."""
    for lines in seeds(first, 10):
        text = "\n".join(["ext_ifname=eth0", "listening_ip=br0", "secure_mode=no", *lines])
        original = read_original(text.encode(), "random.conf")
        found = convert(original, Chosen(others=True), POLICY, TODAY)
        assert found.differences == (), lines
        policy = load_text(found.policy, "policy.toml", TODAY).policy
        for asks, client in pairwise((*CLIENTS, CLIENTS[0])):
            seen = replace(facts(asks), target_device="another", target_mac="02:00:00:00:00:99")
            for ext in PORTS:
                for int_ in PORTS:
                    asked = request(Via.IGD2, client, ext, int_, PortChoice.EXACT)
                    granted = decide(policy, seen, asked).outcome is Outcome.ALLOW
                    assert granted == plain_answer(lines, client, ext, int_), (lines, asks, client, ext, int_)
