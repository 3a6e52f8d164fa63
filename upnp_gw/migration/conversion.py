"""From a configuration of miniupnpd to ours: both texts, a remark for each line, and what the policy answers
differently. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv4Network
from pathlib import Path

from upnp_gw.gate.lint import Finding
from upnp_gw.gate.load import load_text
from upnp_gw.gate.proof.boxes import UNDECIDED
from upnp_gw.gate.schema import Policy
from upnp_gw.gate.values import duration_text
from upnp_gw.migration.comparison import IGD, Asking, Comparison, Differing
from upnp_gw.migration.order_free import order_free
from upnp_gw.migration.original import Original
from upnp_gw.migration.permission_remarks import permission_remarks
from upnp_gw.migration.policy_text import Wanted, policy_text
from upnp_gw.migration.remarks import Remark, in_order
from upnp_gw.migration.settings import Carried, Chosen, carry_settings
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Via
from upnp_gw.model.network import Link

PORT_CONTROL = frozenset({Via.NATPMP, Via.PCP})


@dataclass(frozen=True, slots=True)
class Conversion:
    """Everything that comes of a configuration."""

    original: Original
    carried: Carried
    remarks: tuple[Remark, ...]
    """In the order of the file."""
    policy: str
    """The text of the policy."""
    warnings: tuple[Finding, ...]
    differences: tuple[Differing, ...]
    """Port mappings that the policy answers differently; empty: proved equal."""
    always: tuple[str, ...]
    """The differences that no line decides."""


def convert(original: Original, chosen: Chosen, policy_file: Path, today: date) -> Conversion:
    """Raises ConfigError if the lines cannot be a policy of a bounded size."""
    carried = carry_settings(original, chosen)
    try:
        others = chosen.others and bool(_others_over(carried))
        rules = order_free(original.permissions, others)
        wanted = Wanted(
            others=others,
            ipv6=carried.ipv6,
            upnp=carried.upnp,
            max_ttl_s=carried.max_ttl_s,
        )
        text = policy_text(original, rules, wanted)
        loaded = load_text(text, str(policy_file), today)
        comparison = Comparison(original.permissions, loaded.policy, _asking(carried))
        differences = (*comparison.differences(), *comparison.patterns())
    except UNDECIDED:
        problem = f"the {len(original.permissions)} permission lines take too many steps; write fewer"
        raise ConfigError(original.where, "", problem) from None
    served = _served(carried, chosen.links)
    remarks = in_order([*carried.remarks, *permission_remarks(original.permissions, rules, served)])
    always = tuple(_always(original, carried, loaded.policy))
    return Conversion(original, carried, remarks, text, loaded.warnings, differences, always)


def _others_over(carried: Carried) -> frozenset[Via]:
    """The protocols over which miniupnpd lets a host ask for another one."""
    third_party = carried.third_party and carried.natpmp_and_pcp
    return frozenset((*(IGD if not carried.secure else ()), *([Via.PCP] if third_party else [])))


def _asking(carried: Carried) -> Asking:
    vias = frozenset((*(IGD if carried.upnp else ()), *(PORT_CONTROL if carried.natpmp_and_pcp else ())))
    return Asking(vias, _others_over(carried) & vias)


def _served(carried: Carried, links: Sequence[Link]) -> list[IPv4Network]:
    """The IPv4 prefixes of the LANs; none where one of the interfaces is not known."""
    names = carried.values.get(("lan", "interfaces"), [])
    known = {link.name: link.networks for link in links}
    if not isinstance(names, list) or not all(name in known for name in names):
        return []
    return [net for name in names for net in known[name] if isinstance(net, IPv4Network)]


def _always(original: Original, carried: Carried, policy: Policy) -> Iterator[str]:
    """The differences that no line decides."""
    limits = policy.limits
    yield (
        "the floor: refused are internal clients that are not hosts of a LAN of this gateway, that are the gateway"
        " itself, or that have a public address on a LAN with NAT; and external ports that the gateway uses"
    )
    yield "a device may also open ports for another address of its own: it is known by its MAC address"
    yield (
        f"the limits of the policy: for a device {limits.per_device} mappings, and {limits.requests_per_minute}"
        f" changes in a minute; {limits.total_mappings} mappings in all. After {limits.incident_after} refused"
        " ports in 10 minutes a device opens nothing new until you release it"
    )
    yield f"a UPnP mapping ends {duration_text(limits.max_hold_s)} after the last request for it"
    if original.last("secure_mode") is None:
        yield "without secure_mode, miniupnpd before 2.3.4 let a device open ports for other hosts over UPnP, too"
    if carried.ipv6:
        more = "; over PCP miniupnpd opens lower ones too" if carried.natpmp_and_pcp else ""
        yield f"IPv6: each device opens its own ports from 1024 up, which no permission line is about{more}"
