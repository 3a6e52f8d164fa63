"""The gate's answer to a delete: a device deletes its own mappings, the operator any (SR-25,
docs/decisions/0013)."""

from upnp_gw.gate.decision import Outcome, Verdict
from upnp_gw.gate.schema import OPERATOR_RULE
from upnp_gw.model.mapping import Mapping, Via
from upnp_gw.model.request import Refusal

ENDS_TOO = {"igd": frozenset({"natpmp", "pcp"}), "pcp": frozenset({"natpmp"})}
"""Protocol of a delete -> other protocols whose leases of the same device it ends too, if the device holds none
over the delete's own protocol. None of them proves the sender better: TCP proves the address, PCP's nonce that it
is the same client, NAT-PMP nothing (SR-26)."""


def decide_removal(mapping: Mapping, via: Via, device: str, sees_all: bool, policy: str) -> Verdict:
    """Pure. ``sees_all``: the operator, or everyone where visibility is ``all``."""
    if via is Via.OPERATOR:
        return Verdict(Outcome.ALLOW, OPERATOR_RULE, None, ("deleted by the operator",), None, policy)
    own = mapping.device == device
    if not own and not sees_all:
        return _denied("the mapping belongs to another device", policy)
    if mapping.hold_of(via.protocol) is not None:
        return Verdict(Outcome.ALLOW, "own", None, ("a device may delete its own mapping",), None, policy)
    if own and {hold.via.protocol for hold in mapping.holds} <= ENDS_TOO.get(via.protocol, frozenset()):
        reason = "the device made it over NAT-PMP or PCP and deletes it over TCP"
        if via.datagram:
            reason = "the device made it over NAT-PMP and deletes it over PCP"
        return Verdict(Outcome.ALLOW, "own", None, (reason,), None, policy)
    return _denied("the mapping was made over another protocol", policy)


def _denied(reason: str, policy: str) -> Verdict:
    return Verdict(Outcome.DENY, None, Refusal.NOT_AUTHORIZED, (reason,), None, policy)
