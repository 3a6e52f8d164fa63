"""The parts of an existing opening, a mapping of the kernel, that a policy cannot allow."""

from functools import lru_cache
from typing import NamedTuple

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof import rules
from upnp_gw.gate.proof.answers import Answers
from upnp_gw.gate.proof.boxes import Box, Region, crossed, merged
from upnp_gw.gate.proof.dimensions import Shape
from upnp_gw.gate.proof.space import DEFAULT_EFFORT, TRANSPORTS, Space
from upnp_gw.gate.proof.spans import IP6, IP6_BASE, Spans, address_of, addresses_of, number_of
from upnp_gw.gate.schema import Policy
from upnp_gw.model.mapping import IPAddress, IPNetwork, Transport

KEPT = frozenset({d.SHAPE, d.TRANSPORT, d.INT, d.EXT, d.TARGET, d.REMOTE})
"""The dimensions that the kernel knows. About the others: some request has them."""


class Opened(NamedTuple):
    """An opening as the kernel has it."""

    transport: Transport
    client: IPAddress
    """The internal client."""
    int_ports: Spans
    ext_ports: Spans | None
    """None: a pinhole, whose port is the internal one."""
    remotes: tuple[IPNetwork, ...] = ()
    """Remote hosts that may connect; empty: anyone."""
    rule: str | None = None
    """Only by this grant; None: by any."""


class BeyondPart(NamedTuple):
    """A part of an opening that no request can get."""

    int_ports: Spans
    ext_ports: Spans | None
    """None: a pinhole, or the external port is the internal one."""
    remotes: Spans
    """Numbers of remote hosts (``spans.address_of``)."""

    @property
    def remote(self) -> IPAddress:
        """One of the remote hosts."""
        return address_of(self.remotes[0][0])


def beyond(policy: Policy, opened: Opened) -> tuple[BeyondPart, ...]:
    """The parts of the opening that no request, of whoever, at whatever time and with whatever room, can get by
    this policy. Empty: the policy can allow all of it. Raises TooMuchWork."""
    answers = _answers(policy)
    answers.algebra.effort.left = DEFAULT_EFFORT
    number = number_of(opened.client)
    base: Box = {
        d.TRANSPORT: 1 << TRANSPORTS.index(opened.transport),
        d.TARGET: ((number, number),),
        d.REMOTE: addresses_of(opened.remotes) or (IP6 if number >= IP6_BASE else ((0, IP6_BASE - 1),)),
    }
    scope = _shaped({**base, d.INT: opened.int_ports}, opened)
    allowed: Region = []
    for answer in answers.all():
        if answer.outcome is Outcome.ALLOW and opened.rule in (None, answer.rule):
            allowed += answers.points(answer, scope)
    projected = merged(_projected(box) for box in allowed)
    rest = answers.algebra.subtract(map(_projected, scope), projected)
    return tuple(_part(box, opened) for box in rest if answers.space.possible(box))


@lru_cache(maxsize=2)
def _cached(digest: str, holder: "_Holder") -> Answers:
    return Answers(Space([holder.policy]), holder.policy)


class _Holder:
    """A policy as a key: by its digest."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __hash__(self) -> int:
        return hash(self.policy.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Holder) and other.policy.digest == self.policy.digest


def _answers(policy: Policy) -> Answers:
    return _cached(policy.digest, _Holder(policy))


def _shaped(base: Box, opened: Opened) -> Region:
    """The shapes of requests that can have made the opening. ``EXACT`` stands for ``CHOSEN`` too."""
    if opened.ext_ports is None:
        return [{**base, d.SHAPE: Shape.PINHOLE}]
    return crossed([{**base, d.SHAPE: Shape.TRANSLATED}], rules.external(opened.ext_ports))


def _projected(box: Box) -> Box:
    """The box in the kernel's dimensions. Who chose the port is not one of them."""
    out: Box = {dimension: its for dimension, its in box.items() if dimension in KEPT}
    shapes = out.get(d.SHAPE, Shape.ALL)
    assert isinstance(shapes, int)
    same, other = Shape.EXACT_SAME | Shape.CHOSEN_SAME, Shape.OTHER
    out[d.SHAPE] = (shapes & Shape.PINHOLE) | (same if shapes & same else 0) | (other if shapes & other else 0)
    return out


def _part(box: Box, opened: Opened) -> BeyondPart:
    inner, outer, remotes = box[d.INT], box.get(d.EXT), box[d.REMOTE]
    assert not isinstance(inner, int)
    assert not isinstance(outer, int)
    assert not isinstance(remotes, int)
    return BeyondPart(inner, outer if opened.ext_ports is not None else None, remotes)
