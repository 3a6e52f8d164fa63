"""The gate's answer to a delete: a device ends its own holds, the operator anything (SR-25)."""

from upnp_gw.gate.decision import Outcome, Verdict
from upnp_gw.model import Mapping, Via
from upnp_gw.request import Refusal


def decide_removal(mapping: Mapping, via: Via, device: str, sees_all: bool, policy: str) -> Verdict:
    """Pure. ``sees_all``: the operator, or everyone where visibility is ``all``."""
    if via is Via.OPERATOR:
        return Verdict(Outcome.ALLOW, "operator", None, ("the operator ends it",), None, policy)
    if mapping.device != device and not sees_all:
        return _denied("the mapping belongs to another device", policy)
    if mapping.hold_of(via.protocol) is None:
        return _denied("the mapping is held over another protocol", policy)
    return Verdict(Outcome.ALLOW, "own", None, ("a device ends what it holds",), None, policy)


def _denied(reason: str, policy: str) -> Verdict:
    return Verdict(Outcome.DENY, None, Refusal.NOT_AUTHORIZED, (reason,), None, policy)
