"""Other firewalls by their tables and chains, and the place that is proposed beside them."""

import json
from ipaddress import ip_interface
from typing import Any

import pytest

from tests import ROOT
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.network import Link
from upnp_gw.setup.firewalls import Firewalls, find_firewalls, named, propose_mode

LAN = Link("lan0", 3, True, (ip_interface("192.168.77.1/24"),))
DROP, ACCEPT, MASQUERADE = [{"drop": None}], [{"accept": None}], [{"masquerade": None}]


def chain(place: str, *rules: Any, hook: str = "", kind: str = "filter", policy: str = "accept") -> list[Any]:
    """A chain of ``ip filter FORWARD``, with its rules."""
    family, table, name = place.split()
    made: dict[str, Any] = {"family": family, "table": table, "name": name}
    if hook:
        made |= {"hook": hook, "type": kind, "policy": policy}
    here = {"family": family, "table": table, "chain": name}
    return [{"chain": made}, *({"rule": {**here, "expr": rule}} for rule in rules)]


def jump(to: str) -> list[Any]:
    return [{"jump": {"target": to}}]


def ruleset(*chains: list[Any]) -> dict[str, Any]:
    return {"nftables": [each for one in chains for each in one]}


IPTABLES_FORWARD = chain("ip filter FORWARD", hook="forward", policy="drop")
MASQUERADING = chain("ip nat POSTROUTING", MASQUERADE, hook="postrouting", kind="nat")
CASES: dict[str, tuple[dict[str, Any], str, bool, bool]] = {
    "nothing": (ruleset(), "", False, False),
    "Debian's own nftables.conf": (
        ruleset(
            chain("inet filter input", hook="input"),
            chain("inet filter forward", hook="forward"),
            chain("inet filter output", hook="output"),
        ),
        "",
        False,
        False,
    ),
    "a ruleset of the operator": (
        ruleset(
            chain("inet home forward", ACCEPT, hook="forward", policy="drop"),
            chain("inet home postrouting", MASQUERADE, hook="postrouting", kind="nat"),
        ),
        "rules of your own",
        True,
        True,
    ),
    "masquerade alone": (
        ruleset(chain("ip mynat post", MASQUERADE, hook="postrouting", kind="nat")),
        "rules of your own",
        False,
        True,
    ),
    "rules of iptables": (ruleset(IPTABLES_FORWARD, MASQUERADING), "rules of your own", True, True),
    "ufw": (
        ruleset(
            chain("ip filter FORWARD", jump("ufw-before-forward"), hook="forward", policy="drop"),
            chain("ip filter ufw-before-forward", ACCEPT),
            chain("ip6 filter FORWARD", jump("ufw6-before-forward"), hook="forward", policy="drop"),
            chain("ip6 filter ufw6-before-forward", ACCEPT),
        ),
        "ufw",
        True,
        False,
    ),
    "Docker": (
        ruleset(
            chain("ip filter FORWARD", jump("DOCKER-USER"), hook="forward", policy="drop"),
            chain("ip filter DOCKER-USER"),
            chain(
                "ip nat POSTROUTING",
                [
                    {
                        "match": {
                            "op": "==",
                            "left": {"payload": {"protocol": "ip", "field": "saddr"}},
                            "right": {"prefix": {"addr": "172.17.0.0", "len": 16}},
                        }
                    },
                    {"masquerade": None},
                ],
                hook="postrouting",
                kind="nat",
            ),
        ),
        "Docker",
        True,
        False,
    ),
    "Docker's tables of nftables, beside rules of the operator": (
        ruleset(
            chain("ip docker-bridges filter-FORWARD", DROP, hook="forward"),
            chain("inet home forward", ACCEPT, hook="forward", policy="drop"),
        ),
        "Docker and rules of your own",
        True,
        False,
    ),
    "libvirt": (
        ruleset(
            chain("ip libvirt_network forward", DROP, hook="forward"), chain("ip libvirt_network guest_output")
        ),
        "libvirt",
        True,
        False,
    ),
    "OpenWrt": (ruleset(chain("inet fw4 forward", hook="forward", policy="drop")), "fw4 of OpenWrt", True, False),
    "fail2ban alone": (ruleset(chain("inet f2b-table f2b-chain", hook="input")), "fail2ban", False, False),
    "wg-quick": (
        ruleset(chain("ip wg-quick-wg0 preraw", DROP, hook="prerouting", kind="filter")),
        "wg-quick",
        False,
        False,
    ),
    "our own table": (
        ruleset(chain("inet upnp_gw forward", DROP, hook="forward", policy="drop")),
        "",
        False,
        False,
    ),
}


@pytest.mark.parametrize(("listed", "programs", "filters", "translates"), CASES.values(), ids=CASES)
def test_a_firewall_is_named_and_its_work_is_known(
    listed: dict[str, Any], programs: str, filters: bool, translates: bool
) -> None:
    found = find_firewalls(listed, "wan0", [LAN])
    assert (named(found) if found.programs else "") == programs
    assert bool(found.filters) == filters
    assert (found.translated == {"lan0"}) == translates
    mode, why = propose_mode(found)
    assert mode is (FirewallMode.ALONGSIDE if filters or translates else FirewallMode.ROUTER)
    assert ("filtered" in why, "masqueraded" in why) == (filters, translates)
    assert programs in why or mode is FirewallMode.ROUTER


def test_firewalld_as_it_is_listed() -> None:
    recorded = json.loads((ROOT / "tests/firewall/rulesets/firewalld.json").read_text("utf-8"))
    found = find_firewalls(recorded, "wan0", [LAN])
    assert found.programs == ("firewalld",)
    assert "chain inet firewalld filter_FORWARD" in found.filters
    assert propose_mode(found) == (FirewallMode.ALONGSIDE, "forwarded packets are filtered by firewalld")


def test_rules_that_cannot_be_read_or_may_come_are_left_room() -> None:
    unread = find_firewalls(None, "wan0", [LAN], problem="run it as root")
    assert propose_mode(unread) == (FirewallMode.ALONGSIDE, "other firewalls are unknown: run it as root")
    idle = find_firewalls(ruleset(), "wan0", [LAN], idle=("ufw",))
    assert propose_mode(idle)[0] is FirewallMode.ALONGSIDE
    running = find_firewalls(CASES["ufw"][0], "wan0", [LAN], idle=("ufw",))
    assert running.idle == (), "it has its chains"


def test_two_programs_and_more_are_named_in_words() -> None:
    assert named(Firewalls(("a", "b", "c"))) == "a, b and c"
    assert named(Firewalls()) == "another firewall"
