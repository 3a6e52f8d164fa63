"""Compares what the kernel lets in with what the ledger says is open. Pure.

Proved: every packet from the WAN that reaches a LAN host comes through a mapping of the ledger, by an element of
the kernel that ends no later than the gateway looks at the mapping again; and every flow that goes on is one of a
mapping.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, ip_address
from typing import NamedTuple

from upnp_gw.firewall.base import TABLE, Forward
from upnp_gw.firewall.labels import ASKED, LET_IN
from upnp_gw.firewall.openings.flows import FLOWS_MOST, TrackedFlow, classes_of
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.packets import (
    DADDR,
    DPORT,
    EVERY_ADDRESS,
    EVERY_PORT,
    ORIGINAL_DADDR,
    ORIGINAL_DPORT,
    PROTOCOL,
    SADDR,
    SPORT,
    Box,
    Common,
    Cut,
    Element,
    ElementTable,
    Numbers,
    Packets,
    Source,
    TooMuchToCount,
    first_packet,
)
from upnp_gw.firewall.openings.path import Path, Place
from upnp_gw.firewall.openings.ranges import Ranges, inside, only, united
from upnp_gw.firewall.other_tables.index import RulesetIndex
from upnp_gw.model.mapping import MappingKind

SLACK_S = 5.0
"""Seconds that an element may live longer than its mapping says: timeouts are rounded up, reading takes time."""
FINDINGS_MOST = 20
FIELDS = (PROTOCOL, SADDR, SPORT, ORIGINAL_DADDR, ORIGINAL_DPORT, DADDR, DPORT)
"""The fields that a mapping says something about."""


_PLAIN: tuple[tuple[int, Ranges], ...] = (
    (PROTOCOL, ((6, 6), (17, 17))),
    (PROTOCOL, ((6, 6),)),
    (DPORT, ((1, 65535),)),
    (SPORT, ((40000, 65535),)),
)
"""The numbers of packets that are named if there is a choice, in the order in which they matter."""
_SOURCES: dict[int, Ranges] = {
    version: ((int(ip_address(address)),) * 2,)
    for version, address in ((4, "198.51.100.7"), (6, "2001:db8:ffff::7"))
}
"""Addresses of documentation (RFC 5737, RFC 3849)."""


class Verdict(StrEnum):
    """PROVED: nothing else gets in. OPEN: a packet does. UNKNOWN: a packet may, and a rule cannot be decided."""

    PROVED = "proved"
    OPEN = "open"
    UNKNOWN = "unknown"


class Fault(StrEnum):
    """The fault of a packet that gets through."""

    NO_MAPPING = "no-mapping"
    NO_TIMEOUT = "no-timeout"
    OUTLIVES = "outlives"
    """Its element ends later than its mapping says."""
    FLOW = "flow"
    """It belongs to a flow that no mapping lets in."""
    NOT_ALLOWED = "not-allowed"
    """The policy in force cannot allow its mapping."""
    UNKNOWN = "unknown"


class Permit(NamedTuple):
    """A mapping of the ledger, or one that ended and whose flows may go on for a moment."""

    mapping: str
    version: int
    numbers: Numbers
    """Of ``FIELDS``."""
    lasts_s: float
    """Seconds that its elements may live; 0: only its flows go on."""
    allowed: bool = True
    """False: the policy in force cannot allow it."""

    @classmethod
    def of(
        cls, forward: Forward, external: Sequence[IPv4Address], ended: bool = False, allowed: bool = True
    ) -> "Permit":
        """``external``: the gateway's external addresses. ``ended``: only its flows go on."""
        version, internal = forward.internal.address.version, forward.internal
        inner = _one(int(internal.address))
        if forward.kind is MappingKind.PINHOLE:
            outer, port = inner, internal.port
        else:
            own = external if forward.external_address is None else [forward.external_address]
            outer, port = united((int(address), int(address)) for address in own), forward.external_port
        remote = forward.remote
        hosts = EVERY_ADDRESS[version] if remote is None else ((int(remote[0]), int(remote[-1])),)
        sport = _one(forward.remote_port) if forward.remote_port else EVERY_PORT
        protocol = _one(forward.transport.number)
        numbers = (protocol, hosts, sport, outer, _one(port), inner, _one(internal.port))
        return cls(forward.id, version, numbers, 0.0 if ended else forward.timeout_s, allowed)


def _one(number: int) -> Ranges:
    return ((number, number),)


class Packet(NamedTuple):
    """A packet that gets through. Addresses are numbers."""

    version: int
    protocol: int
    source: int
    sport: int
    destination: int
    """As the sender writes it."""
    dport: int
    host: int
    """The LAN host that gets it."""
    host_port: int
    lan: str
    state: str
    """Of connection tracking: new, established, invalid, untracked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A packet that gets through and should not, or may get through."""

    fault: Fault
    packet: Packet | None
    """None: nothing is known of it."""
    rules: tuple[str, ...]
    """The rules and policies that let it through; UNKNOWN: those that cannot be decided."""
    mapping: str = ""
    """NO_TIMEOUT, OUTLIVES, NOT_ALLOWED: the mapping."""
    expires_s: float | None = None
    """OUTLIVES: seconds until its element ends."""
    others: bool = False
    """Another table translates the packet, or the flow did not come through our maps: a static forward."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The findings, and the extent of the check."""

    findings: tuple[Finding, ...]
    flows: int
    """Flows from outside that go on."""
    open_mappings: frozenset[str]
    """The mappings that a packet of each was found to come through."""

    @property
    def verdict(self) -> Verdict:
        if any(finding.fault is not Fault.UNKNOWN for finding in self.findings):
            return Verdict.OPEN
        return Verdict.UNKNOWN if self.findings else Verdict.PROVED


class Permits:
    """The permits, searched by protocol and external port."""

    def __init__(self, permits: Iterable[Permit]) -> None:
        self._by_port: dict[tuple[int, int, int], list[Permit]] = {}
        self._all: list[Permit] = []
        for one in permits:
            self._all.append(one)
            self._by_port.setdefault((one.version, one.numbers[0][0][0], one.numbers[4][0][0]), []).append(one)

    def near(self, version: int, box: Box) -> Sequence[Permit]:
        """The permits that may have packets in common with the box, and others."""
        protocol, port = only(box.get(PROTOCOL)), only(box.get(ORIGINAL_DPORT))
        if protocol is None or port is None:
            return [one for one in self._all if one.version == version]
        return self._by_port.get((version, protocol, port), ())


def prove(kernel: KernelState, permits: Iterable[Permit], place: Place) -> Proof:
    """Follows all packets from the WAN, and those of the flows."""
    unread = [Finding(Fault.UNKNOWN, None, (problem,)) for problem in kernel.problems]
    flows = kernel.flows
    path = Path(RulesetIndex.of(kernel.ruleset, own=True), place, kernel.forwarded)
    findings: list[Finding] = []
    opened: set[str] = set()
    comparison = _Comparison(Permits(permits), place, opened)
    try:
        for packets in path.let_in():
            for box in packets.boxes:
                findings += comparison.of_first_packets(packets.common, box)
        findings += comparison.of_flows(path, flows)
    except TooMuchToCount:
        unread.append(Finding(Fault.UNKNOWN, None, ("the ruleset has too many classes of packets to follow",)))
    if len(flows) > FLOWS_MOST:
        unread.append(Finding(Fault.UNKNOWN, None, (f"more than {FLOWS_MOST} flows from outside",)))
    gravest = _one_of_each(sorted([*findings, *unread], key=_gravity))
    return Proof(tuple(gravest[:FINDINGS_MOST]), len(flows), frozenset(opened))


def _gravity(finding: Finding) -> tuple[bool, bool, bool]:
    """Sort key: certain findings first, packets that begin a flow before invalid ones, TCP before the others."""
    packet = finding.packet
    if packet is None:
        return finding.fault is Fault.UNKNOWN, False, False
    return finding.fault is Fault.UNKNOWN, packet.state in ("invalid", "untracked"), packet.protocol != 6


def _one_of_each(findings: Sequence[Finding]) -> list[Finding]:
    """The first finding of each kind: the same rules let the packets in, and translate them alike."""
    kinds: dict[object, Finding] = {}
    for one in findings:
        packet = one.packet
        if packet is None or packet.state == "established":
            kinds[one] = one
            continue
        translated = (packet.destination, packet.dport) != (packet.host, packet.host_port)
        ends = (packet.protocol, packet.destination, packet.dport, packet.host, packet.host_port)
        kind = one.fault, packet.version, packet.lan, one.rules, one.mapping, ends if translated else ()
        kinds.setdefault(kind, one)
    return list(kinds.values())


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Compares what gets through with the permits."""

    permits: Permits
    place: Place
    opened: set[str]
    """Gets the mappings that packets come through."""

    def of_first_packets(self, common: Common, box: Box) -> Iterator[Finding]:
        """The findings of a box of packets that begin a flow."""
        version = common.version
        near = [one for one in self.permits.near(version, box) if one.lasts_s and box.among(FIELDS, one.numbers)]
        found = _beside(version, box, near, self.place)
        if found is not None:
            yield _found(Fault.NO_MAPPING, common, found)
            return
        if not near:
            return  # all of it is cut out
        self.opened.update(one.mapping for one in near)
        timed = [source.expires_s for source in box.sources if source.expires_s is not None]
        mapping, lasts_s = near[0].mapping, max(one.lasts_s for one in near)
        fault = None
        if not timed:
            fault = Fault.NO_TIMEOUT
        elif min(timed) > lasts_s + SLACK_S:
            fault = Fault.OUTLIVES
        elif not all(one.allowed for one in near):
            fault, mapping = Fault.NOT_ALLOWED, next(one.mapping for one in near if not one.allowed)
        if fault is not None and (found := plain_packet(version, box, self.place)) is not None:
            yield _found(fault, common, found, mapping, min(timed, default=None))

    def of_flows(self, path: Path, flows: Sequence[TrackedFlow]) -> Iterator[Finding]:
        """The findings of flows that go on."""
        wan = self.place.wan
        seen = path.goes_on(classes_of((flow for flow in flows if not flow.offloaded), wan))
        offloaded = classes_of((flow for flow in flows if flow.offloaded), wan)
        past = [Packets(one.common.passing("a flowtable, past every chain"), one.boxes) for one in offloaded]
        for packets in (*seen, *past):
            version = packets.common.version
            for box in packets.boxes:
                found = _beside(version, box, self.permits.near(version, box), self.place)
                if found is not None:
                    yield _found(Fault.FLOW, packets.common, found)


def _beside(version: int, box: Box, permits: Sequence[Permit], place: Place) -> tuple[int, ...] | None:
    """A packet of the box that none of these permits has; None: there is none."""
    if any(all(map(inside, box.parts(FIELDS), one.numbers)) for one in permits):
        return None
    table = ElementTable(Element(one.numbers, Source("", "", None)) for one in permits)
    return plain_packet(version, box, place, [Cut(FIELDS, table)])


def plain_packet(version: int, box: Box, place: Place, cuts: Sequence[Cut] = ()) -> tuple[int, ...] | None:
    """A packet of the box that a person can imagine, if there is one: TCP, from a host of the internet, to an
    address of the gateway where it is translated."""
    found = first_packet(box, cuts)
    if found is None:
        return None
    places = ((DADDR, place.plain_hosts[version]), (ORIGINAL_DADDR, place.own[version]))
    for name, wanted in (*_PLAIN, (SADDR, _SOURCES[version]), *places):
        narrow = box.among((name,), (wanted,))
        plainer = first_packet(narrow, cuts) if narrow is not None else None
        if narrow is not None and plainer is not None:
            box, found = narrow, plainer
    return found


def _found(
    fault: Fault, common: Common, numbers: tuple[int, ...], mapping: str = "", expires_s: float | None = None
) -> Finding:
    protocol, source, sport, host, host_port, destination, dport, _ = numbers
    packet = Packet(
        common.version, protocol, source, sport, destination, dport, host, host_port, common.oif, common.state
    )
    if common.doubts:
        return Finding(Fault.UNKNOWN, packet, tuple(sorted({doubt.rule for doubt in common.doubts})))
    return Finding(fault, packet, common.passed, mapping, expires_s, _by_others(common))


def _by_others(common: Common) -> bool:
    if common.state == "established":
        return not common.labels & {LET_IN, ASKED}
    return "dnat" in common.status and not common.passed[0].startswith(f"{TABLE} ")
