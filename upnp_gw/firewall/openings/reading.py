"""Reads what ``proof`` needs of the kernel: every table, and the flows from outside.

What cannot be read is a problem in a sentence: then nothing is proved.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.netlink import SUBSYS_NFTABLES, NfnetlinkSocket, attributes_of
from upnp_gw.firewall.openings.flows import read_flows
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.path import Place
from upnp_gw.firewall.rules.index import Json
from upnp_gw.firewall.rules.iptables import has_translations, translate
from upnp_gw.firewall.rules.ranges import Ranges, united
from upnp_gw.model.errors import FirewallError
from upnp_gw.system.netlink import InterruptedDump
from upnp_gw.system.rtnetlink_socket import Rtnetlink

GET_TABLE, GET_GENERATION = 1, 16
TABLE_NAME = GENERATION_ID = 1
FAMILY_NAMES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
ROUTED = ("inet", "ip", "ip6")
TRIES = 20
"""Attempts at a reading that no change of the ruleset interrupts."""
LEGACY = {
    Path("/proc/thread-self/net/ip_tables_names"): "iptables",
    Path("/proc/thread-self/net/ip6_tables_names"): "ip6tables",
}
SYSCTL = Path("/proc/sys/net")
REDIRECTIONS = ("fwd", "dup")
"""Statements at ingress that send packets past the forward hook."""


def read_kernel(session: Session, place: Place) -> KernelState:
    """Call it on the thread of the session. Raises FirewallError where the kernel gives no answer."""
    try:
        with NfnetlinkSocket() as netlink:
            for _ in range(TRIES):
                try:
                    before = _generation(netlink)
                    objects, problems = _objects(session, netlink)
                    flows = read_flows(netlink, place.hosts, _elsewhere(place))
                except InterruptedDump:
                    continue
                if before == _generation(netlink):
                    legacy = list(_legacy_tables())
                    forwarded = frozenset(_forwarded(place.wan))
                    return KernelState({"nftables": objects}, tuple(flows), (*problems, *legacy), forwarded)
    except OSError as error:
        raise FirewallError(f"the kernel's tables cannot be read: {error.strerror}") from error
    raise FirewallError("the ruleset changes all the time")


def _elsewhere(place: Place) -> dict[int, Ranges]:
    """The sources of flows that did not begin on the WAN: the gateway itself, and hosts on other interfaces, as
    containers are. By IP version."""
    served = {place.wan, *(lan.name for lan in place.lans)}
    with Rtnetlink() as kernel:
        names = {link.index: link.name for link in kernel.links()}
        nets = [one.address.network for one in kernel.addresses() if names.get(one.index) not in served]
    others = {v: [(int(net[0]), int(net[-1])) for net in nets if net.version == v] for v in (4, 6)}
    return {v: united((*others[v], *place.own[v])) for v in (4, 6)}


def _forwarded(wan: str) -> Iterator[int]:
    """The IP versions that the kernel routes from the WAN. A switch that cannot be read counts as on."""
    if _on(SYSCTL / "ipv4/conf" / wan / "forwarding"):
        yield 4
    if _on(SYSCTL / "ipv6/conf/all/forwarding") or _on(SYSCTL / "ipv6/conf" / wan / "force_forwarding", False):
        yield 6


def _on(switch: Path, unknown: bool = True) -> bool:
    try:
        return switch.read_text("ascii").strip() != "0"
    except OSError:
        return unknown


def _generation(netlink: NfnetlinkSocket) -> int:
    """The number of the last change of any table."""
    answer = netlink.request(SUBSYS_NFTABLES, GET_GENERATION, 0, b"")
    value = attributes_of(answer).get(GENERATION_ID, b"") if answer is not None else b""
    return int(struct.unpack("!I", value)[0]) if len(value) == 4 else 0


def _objects(session: Session, netlink: NfnetlinkSocket) -> tuple[list[Json], list[str]]:
    objects: list[Json] = []
    problems: list[str] = []
    for message in netlink.dump(SUBSYS_NFTABLES, GET_TABLE, 0):
        family = FAMILY_NAMES.get(message.body[0], "")
        name = attributes_of(message).get(TABLE_NAME, b"").rstrip(b"\0").decode("ascii", "replace")
        if family in ROUTED or family == "netdev":
            try:
                listed = _listed(session, family, name)
            except FirewallError as error:
                problems.append(f"table {family} {name} cannot be read: {error}")
                continue
            objects += listed if family in ROUTED else []
            problems += _redirections(listed)
    return objects, problems


def _listed(session: Session, family: str, name: str) -> list[Json]:
    if not all(c.isascii() and (c.isalnum() or c in "_-.") for c in name):
        raise FirewallError("its name is unusual")
    command = f"list table {family} {name}"
    listed: list[Json] = session.query(command)["nftables"]
    if has_translations(listed):
        translate(listed, session.text(command))
    return listed


def _redirections(listed: list[Json]) -> Iterator[str]:
    """Rules at ingress that send packets on."""
    chains = [it for one in listed if (it := one.get("chain")) is not None]
    ingress = {chain["name"] for chain in chains if chain.get("hook") == "ingress" or chain["family"] == "netdev"}
    for one in listed:
        rule = one.get("rule")
        if rule is None or rule.get("chain") not in ingress:
            continue
        words = {word for expression in rule.get("expr", ()) for word in expression}
        for word in words.intersection(REDIRECTIONS):
            yield f"chain {rule['family']} {rule['table']} {rule['chain']} sends packets on at ingress ({word})"


def _legacy_tables() -> Iterator[str]:
    """Tables of legacy iptables, which nftables does not list."""
    for path, program in LEGACY.items():
        try:
            names = path.read_text("ascii").split()
        except OSError:
            continue
        if names:
            yield f"legacy {program} has the tables {', '.join(names)}, which are not in the ruleset"
