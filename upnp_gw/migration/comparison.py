"""Proves that a policy answers port mappings as the permission lines do, or finds every request that differs.

The lines are read directly into regions of the space of all requests: each line takes its part of what no line
before it has taken. ``order_free`` does not come into it, so a mistake there shows as a difference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.answers import Answers
from upnp_gw.gate.proof.boxes import Box, Effort, Region, crossed
from upnp_gw.gate.proof.describe import box_text
from upnp_gw.gate.proof.differences import Kind
from upnp_gw.gate.proof.dimensions import Relation, Shape
from upnp_gw.gate.proof.largest import largest
from upnp_gw.gate.proof.rules import of_vias, whatever_port
from upnp_gw.gate.proof.space import DEFAULT_EFFORT, Space
from upnp_gw.gate.proof.spans import IP4, addresses_of
from upnp_gw.gate.schema import Policy
from upnp_gw.migration.original import Permission, PortRange
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import shown

IGD = frozenset({Via.IGD1, Via.IGD2})


@dataclass(frozen=True, slots=True)
class Asking:
    """The requests that reach miniupnpd."""

    vias: frozenset[Via]
    """The protocols that are switched on."""
    others_over: frozenset[Via] = frozenset()
    """The protocols over which a host may ask for another one."""


@dataclass(frozen=True, slots=True)
class Differing:
    """One box of requests that the policy answers differently."""

    kind: Kind
    text: str
    """The requests in words."""
    why: str
    """The answer of miniupnpd."""


class Comparison:
    """The lines and the policy, as regions of one space. Everything raises TooMuchWork."""

    def __init__(self, permissions: Sequence[Permission], policy: Policy, asking: Asking) -> None:
        self.lines = permissions
        self.policy = policy
        self.space = Space([policy])
        self.answers = Answers(self.space, policy, Effort(DEFAULT_EFFORT))
        self.algebra = self.answers.algebra
        self.universe = _universe(asking)
        self.allowed = crossed(
            self._read([line for line in permissions if line.pattern is None]), _looked_up(asking)
        )

    def differences(self) -> Iterator[Differing]:
        """The requests that one of them allows and the other does not. None: they answer every one alike."""
        opened = self._opened()
        yield from self._told(Kind.MORE, self.algebra.subtract(opened, self.allowed), "miniupnpd refuses them")
        yield from self._told(Kind.LESS, self.algebra.subtract(self.allowed, opened), "miniupnpd allows them")

    def _opened(self) -> Region:
        """The requests that the policy allows. Where the gateway chooses the port, it takes one of the first grant
        that matches: its grants always have room."""
        opened: Region = []
        charged: Region = []
        for answer in self.answers.all():
            if answer.outcome is not Outcome.ALLOW:
                continue
            region = self.algebra.subtract(crossed(answer.region, self.universe), answer.taken)
            opened += self.algebra.subtract(region, charged)
            charged += whatever_port(region)
        return opened

    def patterns(self) -> Iterator[Differing]:
        """The requests whose answer depends on their description. The policy answers them as the other lines do."""
        before: Region = []
        for line in self.lines:
            region = crossed(_hit(line), self.universe)
            if line.pattern is None:
                before += _hit(line)
                continue
            first = self.algebra.subtract(region, before)
            changed = self.algebra.subtract(first, self.allowed) if line.allow else crossed(first, self.allowed)
            kind = Kind.LESS if line.allow else Kind.MORE
            verb = "allows" if line.allow else "refuses"
            why = f'miniupnpd {verb} them by line {line.line.number}, if the description fits "{_short(line)}"'
            yield from self._told(kind, changed, why)

    def _read(self, lines: Sequence[Permission]) -> Region:
        """The requests that the lines allow: the first one that matches decides, and none of them allows."""
        open_, allowed = list(self.universe), []
        for line in lines:
            hit = _hit(line)
            if line.allow:
                allowed += crossed(open_, hit)
            open_ = self.algebra.subtract(open_, hit)
        return [*allowed, *open_]

    def _told(self, kind: Kind, region: Region, why: str) -> Iterator[Differing]:
        for box in largest(self.space, self.algebra, region):
            yield Differing(kind, box_text(self.space, [self.policy], box), why)


def _universe(asking: Asking) -> Region:
    """Port mappings of hosts for their own address and for other hosts: IPv4, translated, with an external port."""
    boxes: Region = [{d.SHAPE: Shape.TRANSLATED & Shape.SAME}, {d.SHAPE: Shape.OTHER, d.EXT: ((1, 65535),)}]
    asked: Box = {
        d.RELATION: Relation.SAME_ADDRESS | Relation.OTHER_DEVICE,
        d.VIA: of_vias(asking.vias),
        d.TARGET: IP4,
    }
    return crossed(boxes, [asked])


def _looked_up(asking: Asking) -> Region:
    """The requests that miniupnpd looks up in its lines; it refuses the others before."""
    own: Region = [{d.RELATION: Relation.SAME_ADDRESS}]
    if asking.others_over:
        own.append({d.RELATION: Relation.OTHER_DEVICE, d.VIA: of_vias(asking.others_over)})
    return own


def _hit(line: Permission) -> Region:
    """The requests that a line matches."""
    clients: tuple[IPv4Network, ...] = line.clients
    ext, int_ = _span(line.ext), _span(line.int_)
    if ext is None or int_ is None:
        return []
    there: Box = {d.TARGET: addresses_of(clients)}
    both = max(ext[0], int_[0]), min(ext[1], int_[1])
    region: Region = [{**there, d.SHAPE: Shape.OTHER, d.EXT: (ext,), d.INT: (int_,)}]
    if both[0] <= both[1]:
        region.append({**there, d.SHAPE: Shape.TRANSLATED & Shape.SAME, d.INT: (both,)})
    return region


def _span(ports: PortRange) -> tuple[int, int] | None:
    return (max(1, ports[0]), ports[1]) if ports[1] else None


def _short(line: Permission) -> str:
    return shown(line.pattern or "", 60)
