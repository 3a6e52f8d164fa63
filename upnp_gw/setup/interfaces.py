"""Proposes WAN and LANs from the interfaces of a machine, and says where it is in doubt. Pure.

A wrong LAN would open the home to the wrong side. So a proposal without doubt needs a reason: the WAN has the
default route and is no VPN; a LAN has a private address that no DHCP server gave it, and no default route.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from upnp_gw.config.interface_detection import LEFT_OUT_KINDS, DefaultRoute, Interface, check_apart
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.public_addresses import private_external

DIAL_UP = re.compile(r"ppp\d*|pppoe-.*|wwan\d*|wwp.*")
"""Names of interfaces to a provider, which may appear later."""
GUESTS = re.compile(r"guest|gast|visitor", re.IGNORECASE)
"""Names of interfaces for guests."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed answer about interfaces."""

    names: tuple[str, ...] = ()
    """The proposal; empty: none."""
    candidates: tuple[str, ...] = ()
    """Interfaces that may be meant, the likely ones first."""
    why: str = ""
    """A sentence for the proposal."""
    doubt: str = ""
    """The reason why a person has to answer; empty: the proposal needs none."""


def configured(names: Sequence[str], interfaces: Sequence[Interface], detected: Proposal) -> Proposal:
    """The interfaces of the configuration in place of the detected ones."""
    known = {i.name for i in interfaces}
    candidates = tuple(dict.fromkeys((*(name for name in names if name in known), *detected.candidates)))
    missing = [name for name in names if name not in known and not DIAL_UP.fullmatch(name)]
    doubt = f"the configuration names {', '.join(missing)}, which this machine does not have" if missing else ""
    return Proposal(tuple(names), candidates, "as the configuration says", doubt)


def is_dial_up(interface: Interface) -> bool:
    """True for PPP and mobile broadband: these lead to a provider."""
    return interface.kind == "ppp" or (DIAL_UP.fullmatch(interface.name) is not None)


def cannot_be_wan(interface: Interface) -> str:
    """The reason why it is never proposed as the WAN; empty: it may be."""
    if interface.master:
        return f"a port of {interface.master}"
    return "" if is_dial_up(interface) else interface.left_out or ""


def propose_wan(
    interfaces: Sequence[Interface], routes: Sequence[DefaultRoute], lan: Collection[str] = ()
) -> Proposal:
    """The interface of the best default route that is neither a VPN nor a container. ``lan``: taken names."""
    known = {i.name: i for i in interfaces if i.name not in lan}
    best = sorted((r for r in routes if r.interface in known), key=lambda r: (r.version, r.metric))
    able = [r for r in best if not cannot_be_wan(known[r.interface])]
    passed_over = [r for r in best if cannot_be_wan(known[r.interface])]
    names = tuple(dict.fromkeys(r.interface for r in able))
    if not able:
        taken = sorted({r.interface for r in routes if r.interface in lan})
        return _without_route(known, passed_over, taken)
    first = able[0]
    rivals = tuple(
        dict.fromkeys(r.interface for r in able if (r.version, r.metric) == (first.version, first.metric))
    )
    vpn = next((r for r in passed_over if _before(r, first) and _is_vpn(known[r.interface])), None)
    if len(rivals) > 1:
        return Proposal((), names, doubt=f"{' and '.join(rivals)} have equal default routes")
    why = f"it has the IPv{first.version} default route" + (f" (metric {first.metric})" if first.metric else "")
    if vpn is not None:
        doubt = (
            f"the best default route is on {vpn.interface} ({cannot_be_wan(known[vpn.interface])}), and"
            f" {first.interface} has another"
        )
        return Proposal((first.interface,), (*names, vpn.interface), why, doubt)
    return Proposal((first.interface,), names, why)


def _before(route: DefaultRoute, other: DefaultRoute) -> bool:
    return (route.version, route.metric) <= (other.version, other.metric)


def _is_vpn(interface: Interface) -> bool:
    """True for a VPN to which all traffic may go. A tunnel of the provider's (DS-Lite, 6in4) is none."""
    return interface.left_out == "VPN or dial-up"


def _without_route(known: Mapping[str, Interface], vpns: Sequence[DefaultRoute], taken: Sequence[str]) -> Proposal:
    able = [i for i in known.values() if not cannot_be_wan(i)]
    names = tuple(i.name for i in sorted(able, key=lambda i: (not is_dial_up(i), i.private is not None)))
    if vpns:
        kind = cannot_be_wan(known[vpns[0].interface])
        on = " and ".join(dict.fromkeys(r.interface for r in vpns))
        return Proposal((), names, doubt=f"only {on} has a default route ({kind})")
    if taken:
        return Proposal((), names, doubt=f"the default route is on {' and '.join(taken)}, which is to be a LAN")
    return Proposal((), names, doubt="no interface has a default route")


def propose_lans(
    interfaces: Sequence[Interface],
    routes: Sequence[DefaultRoute],
    wan: str,
    carriers: Collection[str] = (),
) -> Proposal:
    """The one interface that is surely a LAN. ``wan``: the WAN, or empty; ``carriers``: interfaces that carry a
    PPPoE session, and so lead to a modem."""
    outside = {route.interface for route in routes} | {wan}
    able = [i for i in interfaces if not _cannot_be_lan(i, wan, interfaces)]
    doubts = {i.name: _lan_doubt(i, interfaces, outside, wan, carriers) for i in able}
    sure = [i for i in able if not doubts[i.name] and i.private is not None]
    if not sure:  # a LAN of IPv6 alone
        sure = [i for i in able if not doubts[i.name] and not i.ipv4 and _own_ipv6(i)]
    likely = [i for i in sure if not GUESTS.search(i.name)]
    unsure = sorted((i for i in able if i not in sure), key=lambda i: not i.addresses)
    names = tuple(i.name for i in (*likely, *(i for i in sure if i not in likely), *unsure))
    if len(likely) == 1:
        guests = [i.name for i in sure if i not in likely]
        why = f"{'the only interface' if len(sure) == 1 else 'an interface'} with a private address"
        if likely[0].private is None:
            why = "the only interface with an IPv6 prefix of its own"
        return Proposal((likely[0].name, *guests), names, f"{why} ({_shown_address(likely[0])})")
    if len(sure) > 1:
        return Proposal((), names, doubt=f"{len(sure)} interfaces could be the LAN: {_listed(sure)}")
    if sure:
        return Proposal((), names, doubt=f"{sure[0].name} looks like a LAN for guests alone")
    if not names:
        return Proposal((), (), doubt=f"there is no interface beside {wan}" if wan else "there is no interface")
    reasons = [f"{i.name} ({doubts[i.name]})" for i in able if doubts[i.name]]
    return Proposal((), names, doubt="no interface is surely the LAN: " + ", ".join(reasons))


def _cannot_be_lan(interface: Interface, wan: str, interfaces: Sequence[Interface]) -> str:
    """The reason why it is never a LAN; empty: it may be. A bridge of containers or virtual machines may be one for
    an operator who says so."""
    if interface.name in (wan, "lo"):
        return "the WAN" if interface.name == wan else "loopback"
    try:
        check_apart(wan, [interface.name], interfaces)
    except ConfigError as error:
        return error.problem
    return "" if interface.kind not in LEFT_OUT_KINDS or interface.kind in ("wireguard", "tun") else "no LAN"


def _lan_doubt(
    interface: Interface,
    interfaces: Sequence[Interface],
    outside: Collection[str],
    wan: str,
    carriers: Collection[str],
) -> str:
    """The reason why a person has to say that it is a LAN; empty: it surely is one."""
    above = next((name for name in (wan, *sorted(carriers)) if interface.name in _wires(name, interfaces)), "")
    checks = (
        (interface.left_out is not None, interface.left_out or ""),
        (interface.name in outside, "it has a default route"),
        (interface.name in carriers, "it carries the PPPoE connection to the modem"),
        (bool(above), f"{above} is a VLAN of it"),
        (is_dial_up(interface), "dial-up"),
        (interface.leased, f"a DHCP server gave it {_shown_address(interface)}"),
        (not interface.addresses or not (interface.ipv4 or _own_ipv6(interface)), "it has no address"),
        (interface.private is None and bool(interface.ipv4), f"its address {_shown_address(interface)} is public"),
    )
    return next((reason for found, reason in checks if found), "")


def _wires(name: str, interfaces: Sequence[Interface]) -> set[str]:
    """The interfaces below this one: that of a VLAN, and those below that."""
    below = {i.name: i.below for i in interfaces if i.below}
    found: set[str] = set()
    while (name := below.get(name, "")) and name not in found:
        found.add(name)
    return found


def _own_ipv6(interface: Interface) -> bool:
    return any(not address.is_link_local for address in interface.ipv6)


def _shown_address(interface: Interface) -> str:
    own = [a for a in interface.addresses if not a.ip.is_link_local]
    return str(interface.private or (own[0] if own else "no address"))


def _listed(interfaces: Iterable[Interface]) -> str:
    return ", ".join(f"{i.name} ({_shown_address(i)})" for i in interfaces)


def describe(interface: Interface, routes: Sequence[DefaultRoute], carriers: Collection[str] = ()) -> str:
    """The facts about an interface that tell which side it is on: addresses, kind, default route."""
    own = [str(a) for a in interface.addresses if not a.ip.is_link_local]
    facts = [" ".join(own) or "no address"]
    if interface.left_out:
        facts.append("dial-up" if is_dial_up(interface) else interface.left_out)
    elif interface.kind and interface.kind != "veth":
        facts.append(interface.kind)
    versions = sorted({r.version for r in routes if r.interface == interface.name})
    if versions:
        facts.append(f"default route of {' and '.join(f'IPv{version}' for version in versions)}")
    if interface.leased and interface.ipv4:
        facts.append("address from DHCP")
    if interface.name in carriers:
        facts.append("carries PPPoE")
    if not interface.up:
        facts.append("down")
    return ", ".join(facts)


def has_public_addresses(interface: Interface) -> bool:
    """True if its hosts have public IPv4 addresses, and need no NAT."""
    return bool(interface.ipv4) and all(private_external(address) is None for address in interface.ipv4)
