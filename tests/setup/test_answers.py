"""Answers in words; what cannot be is refused with what would be accepted."""

import pytest

from upnp_gw.firewall.base import FirewallMode
from upnp_gw.setup.answers import (
    LanAnswer,
    NotAccepted,
    parse_firewall,
    parse_lans,
    parse_page,
    parse_policy,
    parse_wan,
)

KNOWN = ["br0", "guest0", "dmz", "eth1"]
BR0, DMZ = LanAnswer("br0"), LanAnswer("dmz", nat=False)


def lans(*texts: str) -> tuple[LanAnswer, ...]:
    return parse_lans(texts, KNOWN, ["br0", "guest0"], without_nat=["dmz"])


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (["br0"], (BR0,)),
        (["  br0  "], (BR0,)),
        (["br0 guest0:guests"], (BR0, LanAnswer("guest0", guests=True))),
        (["br0,guest0:guests"], (BR0, LanAnswer("guest0", guests=True))),
        (["br0", "dmz"], (BR0, DMZ)),
        (["br0", "dmz:nat"], (BR0, LanAnswer("dmz"))),
        (["br0:no-nat"], (LanAnswer("br0", nat=False),)),
        (["br0", "guest0:guests:no-nat"], (BR0, LanAnswer("guest0", True, False))),
    ],
)
def test_lans(texts: list[str], answer: tuple[LanAnswer, ...]) -> None:
    assert lans(*texts) == answer
    assert parse_lans([" ".join(map(str, answer))], KNOWN, KNOWN) == answer, "as the default is printed"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", 'got ""; accepted: br0, guest0'),
        ("eth9", 'got "eth9"; accepted: br0, guest0'),
        ("br0 br0", 'got "br0"; accepted: each interface once'),
        ("br0:guest", 'got ":guest"; accepted: :guests, :nat or :no-nat after the name'),
        ("br0:", 'got ":"; accepted: :guests, :nat or :no-nat after the name'),
        ("br0:nat:no-nat", 'got "br0:nat:no-nat"; accepted: one of :nat and :no-nat'),
        ("guest0:guests", 'got "guest0:guests"; accepted: at least one LAN without :guests'),
        ("br0; rm -rf /", 'got "br0;"; accepted: br0, guest0'),
        ("br0\x1b[31m", 'got "br0\\x1b[31m"; accepted: br0, guest0'),
        ("x" * 200, f'got "{"x" * 59}\u2026"'),
    ],
)
def test_wrong_lans(text: str, problem: str) -> None:
    with pytest.raises(NotAccepted) as wrong:
        lans(text)
    assert str(wrong.value).startswith(problem)


@pytest.mark.parametrize("text", ["eth1", " eth1 ", "ppp0", "wwan0", "eth7"])
def test_a_wan_is_there_or_configured_or_may_appear(text: str) -> None:
    assert parse_wan(text, ["eth1"], ["eth7"], ["eth1"]) == text.strip()


@pytest.mark.parametrize("text", ["", "eth9", "eth1 eth7", "ppp0; reboot", "lo"])
def test_wrong_wans(text: str) -> None:
    with pytest.raises(NotAccepted, match=r'^got ".*"; accepted: eth1$'):
        parse_wan(text, ["eth1"], [], ["eth1"])


@pytest.mark.parametrize(
    ("text", "mode", "answered"),
    [
        ("beside", FirewallMode.ALONGSIDE, (BR0, DMZ)),
        ("own", FirewallMode.ROUTER, (BR0, DMZ)),
        ("own no-nat", FirewallMode.ROUTER, (LanAnswer("br0", nat=False), DMZ)),
        ("nat beside", FirewallMode.ALONGSIDE, (BR0, LanAnswer("dmz"))),
    ],
)
def test_firewall(text: str, mode: FirewallMode, answered: tuple[LanAnswer, ...]) -> None:
    assert parse_firewall(text, (BR0, DMZ)) == (mode, answered)


@pytest.mark.parametrize("text", ["", "router", "alongside", "own beside", "no-nat", "own nat no-nat", "own NAT"])
def test_wrong_firewalls(text: str) -> None:
    with pytest.raises(NotAccepted, match="accepted: beside or own, and no-nat after it"):
        parse_firewall(text, (BR0,))


def test_policy() -> None:
    assert [parse_policy(word, False) for word in ("home", " ask ", "locked")] == ["home", "ask", "locked"]
    assert parse_policy("keep", True) == "keep"
    for wrong in ("keep", "", "Home", "home ask"):
        with pytest.raises(NotAccepted, match=r"accepted: home, ask or locked$"):
            parse_policy(wrong, False)
    with pytest.raises(NotAccepted, match=r"accepted: home, ask, locked or keep$"):
        parse_policy("none", True)


def test_page() -> None:
    assert parse_page("own", "ssh") == ("own", "ssh")
    assert parse_page("all lan", "ssh") == ("all", "lan")
    assert parse_page("ssh, own", "lan") == ("own", "ssh")
    assert parse_page("off", "lan") == ("off", "lan")
    for wrong in ("", "on", "lan", "own all", "own ssh lan", "own ssh x"):
        with pytest.raises(NotAccepted, match="accepted: own, all or off, and ssh or lan after it"):
            parse_page(wrong, "ssh")
    with pytest.raises(NotAccepted, match="off alone"):
        parse_page("off lan", "ssh")
