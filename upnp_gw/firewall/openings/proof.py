"""Compares what the kernel lets in with what the ledger says is open. Pure.

Proved: every packet from the WAN that reaches a LAN host comes through a mapping of the ledger, by an element of
the kernel that ends no later than the gateway looks at the mapping again; and every flow that goes on is one of a
mapping.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from upnp_gw.firewall.base import TABLE
from upnp_gw.firewall.labels import ASKED, LET_IN
from upnp_gw.firewall.openings.findings import Fault, Finding, Packet, Proof, gravest
from upnp_gw.firewall.openings.flows import FLOWS_MOST, TrackedFlow, classes_of
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.path import Path, Place
from upnp_gw.firewall.openings.permits import FIELDS, OUTSIDE, Permit, Permits
from upnp_gw.firewall.rules.index import RulesetIndex
from upnp_gw.firewall.rules.packets import (
    DADDR,
    DPORT,
    EVERY_ADDRESS,
    EVERY_FLAG,
    EVERY_PORT,
    NOT_TRANSLATED,
    ORIGINAL_DADDR,
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
from upnp_gw.firewall.rules.ranges import Ranges, forget, inside

SLACK_S = 5.0
"""Seconds that an element may live longer than its mapping says: timeouts are rounded up, reading takes time."""
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
        findings += comparison.of_ended_mappings(path)
    except TooMuchToCount:
        unread.append(Finding(Fault.UNKNOWN, None, ("the ruleset has too many classes of packets to follow",)))
    finally:
        forget()
    if len(flows) > FLOWS_MOST:
        unread.append(Finding(Fault.UNKNOWN, None, (f"more than {FLOWS_MOST} flows from outside",)))
    return Proof(gravest([*findings, *unread]), len(flows), frozenset(opened))


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
        found = _beside(version, box, FIELDS, [one.numbers for one in near], self.place)
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
                known = [one.numbers for one in self.permits.near(version, box)]
                found = _beside(version, box, FIELDS, known, self.place)
                if found is not None:
                    yield _found(Fault.FLOW, packets.common, found)

    def of_ended_mappings(self, path: Path) -> Iterator[Finding]:
        """The findings of flows that any mapping may have let in: they go on only where one is in the ledger."""
        for packets in path.goes_on([_let_in(version, self.place) for version in (4, 6)]):
            version = packets.common.version
            for box in packets.boxes:
                carried = [one.carries for one in self.permits.near(version, box)]
                found = _beside(version, box, OUTSIDE, carried, self.place)
                if found is not None:
                    yield _found(Fault.FLOW_LASTS, packets.common, found)


def _let_in(version: int, place: Place) -> Packets:
    """All flows that port mappings (IPv4) or pinholes (IPv6) may have let in."""
    translated = version == 4
    status = frozenset({"confirmed", "seen-reply", "assured", *(["dnat"] if translated else [])})
    common = Common(version, place.wan, state="established", status=status, labels=frozenset({LET_IN, ASKED}))
    every = EVERY_ADDRESS[version]
    outer = (place.external, EVERY_PORT) if translated else (NOT_TRANSLATED, NOT_TRANSLATED)
    numbers = (((6, 6), (17, 17)), every, EVERY_PORT, place.hosts[version], EVERY_PORT, *outer, EVERY_FLAG)
    return Packets(common, [Box(numbers)] if place.external or not translated else [])


def _beside(
    version: int, box: Box, fields: tuple[int, ...], permitted: Sequence[Numbers], place: Place
) -> tuple[int, ...] | None:
    """A packet of the box that is not permitted; None: there is none. ``permitted``: numbers of these fields."""
    if any(all(map(inside, box.parts(fields), numbers)) for numbers in permitted):
        return None
    table = ElementTable(Element(numbers, Source("", "", None)) for numbers in permitted)
    return plain_packet(version, box, place, [Cut(fields, table)])


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
        common.version, protocol, source, sport, destination, dport, host, host_port, common.oif or "", common.state
    )
    if common.doubts:
        return Finding(Fault.UNKNOWN, packet, tuple(sorted({doubt.rule for doubt in common.doubts})))
    return Finding(fault, packet, common.passed, mapping, expires_s, _by_others(common))


def _by_others(common: Common) -> bool:
    if common.state == "established":
        return not common.labels & {LET_IN, ASKED}
    return "dnat" in common.status and not common.passed[0].startswith(f"{TABLE} ")
