"""A remark for each permission line: the rules it became, and what the floor takes from it."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from upnp_gw.gate.proof.space import LOCAL4
from upnp_gw.gate.proof.spans import IP4, addresses_of, common, without
from upnp_gw.migration.order_free import Rule
from upnp_gw.migration.original import Permission
from upnp_gw.migration.policy_text import named_rules
from upnp_gw.migration.remarks import Fate, Remark

PUBLIC = "the floor: those of its addresses that are public get nothing"
NO_LAN = "no LAN of this machine has such an address"


def permission_remarks(
    permissions: Sequence[Permission], rules: Sequence[Rule], lans: Sequence[IPv4Network] = ()
) -> Iterator[Remark]:
    """The remarks, in the order of the lines. ``lans``: the prefixes of the served LANs; empty: not known."""
    named = named_rules(rules)
    for permission in permissions:
        fate, why = _outcome(permission, named)
        if permission.allow and fate is Fate.CARRIED:
            fate, more = _floor(permission, lans)
            why = "; ".join([why, *more])
        yield Remark(permission.line, fate, why)


def _outcome(permission: Permission, named: Sequence[tuple[str, Rule]]) -> tuple[Fate, str]:
    line = permission.line
    made = [f"{'grant' if rule.allow else 'forbid'} {name}" for name, rule in named if line in rule.lines]
    cut = [f"grant {name}" for name, rule in named if line in rule.less]
    if permission.pattern is not None:
        return Fate.NOT_CARRIED, "a policy does not match on descriptions, which clients choose"
    if made:
        return Fate.CARRIED, ", ".join(made)
    if permission.allow:
        return Fate.CARRIED, "it changes nothing: other lines decide"
    return Fate.CARRIED, f"{', '.join(cut)}: without it" if cut else "no grant allows it"


def _floor(permission: Permission, lans: Sequence[IPv4Network]) -> tuple[Fate, list[str]]:
    """The part of a line that allows, but that no policy can allow on this machine."""
    clients = addresses_of(permission.clients)
    if lans and not common(clients, addresses_of(lans)):
        return Fate.CARRIED, [NO_LAN]
    if clients != IP4 and without(clients, LOCAL4):
        return Fate.DIFFERENT, [PUBLIC]
    return Fate.CARRIED, []
