"""Detects WAN and LAN if they are not configured, and refuses unsafe choices (SR-4).

``detect`` is pure; ``read_interfaces`` asks the kernel, before the event loop starts.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from socket import AF_INET

from upnp_gw.config.settings import Config, check, check_links
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.network import Link
from upnp_gw.model.public_addresses import PRIVATE, private_external
from upnp_gw.system.rtnetlink_socket import Rtnetlink

__all__ = ["DefaultRoute", "Detected", "Interface", "check_apart", "detect", "private_external", "read_interfaces"]

WHERE = "network interfaces"

LEFT_OUT_NAMES: tuple[tuple[str, str], ...] = (
    (r"lo", "loopback"),
    # br-lan of OpenWrt can be a LAN, br-0123456789ab of Docker cannot
    (r"docker.*|br-[0-9a-f]{12}|podman.*|cni.*|cbr\d.*|nerdctl.*|lxc.*|lxd.*|incus.*|waydroid.*", "container"),
    (r"veth.*|flannel.*|cali.*|cilium.*|weave.*|kube.*|nodelocaldns", "container"),
    (r"virbr.*|vnet\d.*|vmnet.*|vboxnet.*|mpqemubr.*", "virtual machine"),
    (r"tun.*|tap.*|wg.*|tailscale.*|zt.*|ppp.*|ipsec.*|nordlynx|proton.*|utun.*|nebula.*", "VPN or dial-up"),
)
"""Pattern for the whole name -> kind of interface. Detection never chooses it as a LAN."""

LEFT_OUT_KINDS = {
    "wireguard": "VPN or dial-up",
    "tun": "VPN or dial-up",
    "ppp": "VPN or dial-up",
    "ovpn": "VPN or dial-up",
    "xfrm": "VPN or dial-up",
    "vti": "VPN or dial-up",
    "vti6": "VPN or dial-up",
    "gre": "tunnel",
    "gretap": "tunnel",
    "ip6gre": "tunnel",
    "ipip": "tunnel",
    "ip6tnl": "tunnel",
    "sit": "tunnel",
    "vxlan": "tunnel",
    "geneve": "tunnel",
    "dummy": "dummy",
    "ifb": "dummy",
    "vrf": "routing domain",
    "netkit": "container",
}
"""Kind by netlink -> kind for messages. A bridge, VLAN, bond, or a veth with another name can be a LAN."""

ONE_SEGMENT = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
"""Kinds that share the wire of their parent interface. A VLAN does not."""


@dataclass(frozen=True, slots=True)
class Interface(Link):
    """A link and its kind."""

    kind: str = ""
    """``bridge``, ``wireguard``, ...; empty: physical."""
    master: str = ""
    """The bridge or bond that it belongs to."""
    parent: str = ""
    """The interface that shares its wire (``ONE_SEGMENT``)."""
    below: str = ""
    """The interface below it, of whatever kind it is: that of a VLAN."""
    leased: bool = False
    """True: an IPv4 address of it has an end, as from DHCP. This machine is a guest on that network."""

    @property
    def left_out(self) -> str | None:
        """The reason why detection does not choose it; None: it can be a LAN."""
        if self.kind in LEFT_OUT_KINDS:
            return LEFT_OUT_KINDS[self.kind]
        return next((reason for pattern, reason in LEFT_OUT_NAMES if re.fullmatch(pattern, self.name)), None)

    @property
    def private(self) -> IPv4Interface | None:
        """Its first private IPv4 address (RFC 1918)."""
        ipv4 = (a for a in self.addresses if isinstance(a, IPv4Interface))
        return next((a for a in ipv4 if any(a.ip in net for net in PRIVATE)), None)


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    interface: str
    metric: int = 0
    version: int = 4


@dataclass(frozen=True, slots=True)
class Detected:
    wan: str
    lan: tuple[str, ...]
    why: tuple[str, ...]
    """A sentence for each choice."""


def detect(
    interfaces: Sequence[Interface],
    routes: Sequence[DefaultRoute],
    *,
    wan: str | None = None,
    lan: Sequence[str] = (),
) -> Detected:
    """Chooses WAN and LAN if they are not given, and checks them.

    Raises ConfigError if there is no default route, not exactly one candidate for the LAN (the message has the
    command to type), or the LAN would be the internet (SR-4).
    """
    known = {interface.name: interface for interface in interfaces}
    why: list[str] = []
    outside = set()
    if wan is None:
        wan = _choose_wan(routes, lan, known, why)
        outside = {route.interface for route in routes}
    if not lan:
        lan = (_choose_lan(known, wan, outside | {wan}, why),)
    config = Config(wan=wan, lan=tuple(lan))
    check(config, WHERE)
    check_links(config, WHERE, interfaces, {route.interface for route in routes})
    check_apart(wan, lan, interfaces)
    return Detected(wan, tuple(lan), tuple(why))


def _choose_wan(
    routes: Sequence[DefaultRoute], lan: Sequence[str], known: Mapping[str, Interface], why: list[str]
) -> str:
    # IPv4 first, for port mappings; a WAN can have IPv6 alone
    candidates = sorted(
        (r for r in routes if r.interface not in lan and r.interface in known), key=lambda r: (r.version, r.metric)
    )
    if not candidates:
        others = ", ".join(sorted(known.keys() - {"lo", *lan})) or "none"
        command = f"upnp-gw run{''.join(f' --lan {name}' for name in lan or ('IF',))} --wan IF"
        problem = "the default route is on a LAN interface" if routes else "no interface has a default route"
        raise ConfigError(WHERE, "wan", f"{problem}; type: {command} (interfaces: {others})")
    best = candidates[0]
    rivals = sorted({r.interface for r in candidates if (r.version, r.metric) == (best.version, best.metric)})
    if len(rivals) > 1:
        given = "".join(f" --lan {name}" for name in lan)
        commands = " or ".join(f"upnp-gw run{given} --wan {name}" for name in rivals)
        raise ConfigError(WHERE, "wan", f"{' and '.join(rivals)} have equal default routes; type: {commands}")
    metric = f" (metric {best.metric})" if best.metric else ""
    why.append(f"WAN {best.interface}: it has the IPv{best.version} default route{metric}")
    return best.interface


def _choose_lan(known: Mapping[str, Interface], wan: str, outside: Collection[str], why: list[str]) -> str:
    """``outside``: interfaces with a default route, such as a second way to the internet. None is chosen."""
    private = [i for i in known.values() if i.private is not None and i.name not in outside and not i.master]
    candidates = [i for i in private if i.left_out is None]
    left_out = ", ".join(f"{i.name} ({i.left_out})" for i in private if i.left_out is not None)
    if len(candidates) == 1:
        only = candidates[0]
        besides = f"; left out: {left_out}" if left_out else ""
        why.append(f"LAN {only.name}: the only interface with a private address ({only.private}){besides}")
        return only.name
    # if only left-out interfaces remain, the operator can choose one of them
    named = candidates or private
    listed = ", ".join(f"{i.name} ({i.private})" for i in named)
    if not named:
        problem = f"no interface except {wan} has a private IPv4 address; type: upnp-gw run --lan IF --wan {wan}"
        others = sorted(known.keys() - {"lo", wan})
        raise ConfigError(WHERE, "lan", f"{problem} (interfaces: {', '.join(others) or 'none'})")
    if candidates:
        problem = f"{len(candidates)} interfaces could be the LAN: {listed}"
    else:
        problem = f"only container, VM or VPN interfaces have a private address: {left_out}"
    commands = " or ".join(f"upnp-gw run --lan {i.name} --wan {wan}" for i in named[:3])
    raise ConfigError(WHERE, "lan", f"{problem}; type: {commands}")


def check_apart(wan: str, lan: Sequence[str], interfaces: Sequence[Interface]) -> None:
    """Raises ConfigError if a LAN is bridged with the WAN, or is only a port of a bridge."""
    masters = {interface.name: interface.master for interface in interfaces}
    outside = _segment(wan, interfaces)
    for name in lan:
        inside = masters.get(name, "")
        if name in outside:
            raise ConfigError(WHERE, "lan", f"{name} and the WAN {wan} are bridged together; LAN and WAN overlap")
        if inside:
            raise ConfigError(WHERE, "lan", f"{name} is a port of {inside}: use --lan {inside}")


def _segment(name: str, interfaces: Sequence[Interface]) -> set[str]:
    """The interfaces on the same wire: a bridge and its ports, a macvlan and its parent."""
    segment, more = {name}, {name}
    while more:
        pairs = [(i.name, other) for i in interfaces for other in (i.master, i.parent) if other]
        more = {each for pair in pairs if segment.intersection(pair) for each in pair} - segment
        segment |= more
    return segment


def read_interfaces() -> tuple[tuple[Interface, ...], tuple[DefaultRoute, ...]]:
    """Interfaces and default routes of this network namespace. Raises OSError if netlink fails."""
    with Rtnetlink() as kernel:
        links, addresses, routes = kernel.links(), kernel.addresses(), kernel.default_routes()
    names = {link.index: link.name for link in links}
    return (
        tuple(
            Interface(
                name=link.name,
                index=link.index,
                up=link.up,
                addresses=tuple(a.address for a in addresses if a.index == link.index),
                kind=link.kind,
                master=names.get(link.master, ""),
                parent=names.get(link.parent, "") if link.kind in ONE_SEGMENT else "",
                # the peer of a veth may be in another net namespace, where its index means another link
                below=names.get(link.parent, "") if link.kind != "veth" else "",
                leased=any(a.index == link.index and a.address.version == 4 and not a.permanent for a in addresses),
            )
            for link in links
        ),
        tuple(
            DefaultRoute(names[route.index], route.metric, 4 if route.family == AF_INET else 6)
            for route in routes
            if route.index in names
        ),
    )
