"""The ``[[never]]`` of a policy that the operator's own mapping crosses. None of them refuses it. Pure.

A mapping crosses one if it would be a request of that kind, had its internal client asked for it. It stands day and
night, so hours do not matter. One about a protocol is not crossed: ``add`` uses none.
"""

from dataclasses import replace

from upnp_gw.gate.decision import Facts
from upnp_gw.gate.facts import names_of, possible_names
from upnp_gw.gate.invariant import Bounds, Invariant, InvariantKind, Requested, Sender
from upnp_gw.gate.match import RuleInput
from upnp_gw.gate.portset import contains
from upnp_gw.gate.remote_match import EVERYWHERE, TakenAway, taken_away
from upnp_gw.gate.schema import Policy
from upnp_gw.model.request import MapRequest


def crossed_by(policy: Policy, facts: Facts, request: MapRequest) -> tuple[Invariant, ...]:
    """Those that the operator's mapping crosses, in the order of the file. ``facts``: of the operator's request."""
    nevers = [one for one in policy.invariants if one.kind is InvariantKind.NEVER and one.sender.vias is None]
    if not nevers:
        return ()
    asked = RuleInput(policy, _of_its_client(facts, request), request)
    return tuple(
        one
        for one in nevers
        if _from(one.sender, asked)
        and _requested(one.requested, asked)
        and not (one.unless is not None and _within(one.unless, asked))
    )


def _of_its_client(facts: Facts, request: MapRequest) -> Facts:
    """The facts as if the internal client asked. Its DHCP lease is not looked up: it counts as one that agrees."""
    return replace(
        facts,
        device=facts.target_device,
        mac=facts.target_mac,
        address=request.internal.address,
        lan=facts.target_lan,
        dhcp_name=None,
        restoring=True,
    )


def _from(sender: Sender, asked: RuleInput) -> bool:
    policy, facts, client = asked.policy, asked.facts, asked.target
    return (
        (sender.devices is None or bool(sender.devices & possible_names(policy, facts, client)))
        and not (sender.excluded and sender.excluded & names_of(policy, facts))
        and (sender.zone is None or asked.touches_zone(sender.zone))
        and (not sender.addresses or any(client in net for net in sender.addresses))
        and sender.mac in (None, facts.mac)
        and sender.lan in (None, facts.lan)
    )


def _requested(about: Requested, asked: RuleInput) -> bool:
    request, client = asked.request, asked.target
    return (
        (about.transports is None or request.transport in about.transports)
        and (not about.versions or client.version in about.versions)
        and (about.int_ports is None or contains(about.int_ports, asked.int_port))
        and (about.ext_ports is None or not _external(asked) or contains(about.ext_ports, _external(asked)))
        and (not about.targets or any(client in net for net in about.targets))
        and (about.remote is None or taken_away(about.remote, request) is not TakenAway.NOTHING)
    )


def _within(bounds: Bounds, asked: RuleInput) -> bool:
    request = asked.request
    hosts = request.remote or EVERYWHERE[asked.target.version]
    longest_s = request.lifetime_s or asked.policy.limits.max_hold_s
    return (
        (bounds.ext_ports is None or contains(bounds.ext_ports, _external(asked)))
        and (bounds.remote is None or bounds.remote.includes(hosts))
        and (bounds.lease_s is None or not (request.permanent or longest_s > bounds.lease_s))
    )


def _external(asked: RuleInput) -> int:
    """0: the gateway would choose."""
    return asked.int_port if asked.request.pinhole else asked.request.external_port
