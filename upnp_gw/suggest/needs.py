"""Finds the ports that devices need, from evidence, and guards against a policy that an infected PC has trained.

The traffic of a device counts only if the operator has named it, it was first seen a week ago, and it had no
incident. A port with traffic on enough days is a need. A port that was requested and never used becomes a test that
it stays closed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from ipaddress import IPv6Network, ip_address, ip_network

from upnp_gw.gate.facts import name_of
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.evidence import KEEP_S, Evidence, EvidenceTable
from upnp_gw.model.device import device_id, lan_of, mac_of
from upnp_gw.model.mapping import DAY_S, IPAddress, IPNetwork, Transport

YOUNG_S = 7 * DAY_S
FEW_REMOTES = 4
"""Up to this many prefixes of remote hosts become the ``remote`` of a grant; with more, anyone may connect."""
SHOWN = 12
"""Most ports of one device in a sentence."""
REMOTE_PREFIX_6 = 64
"""A host changes its IPv6 address within its prefix (RFC 8981)."""


@dataclass(frozen=True, slots=True)
class PortNeed:
    """An internal port that a named device used."""

    device: str
    """Its name in the policy."""
    transport: Transport
    family: int
    port: int
    externals: frozenset[int] = frozenset()
    """Its external ports; empty: the same port."""
    remotes: tuple[IPNetwork, ...] = ()
    """The remote hosts that connected, if they are few; empty: anyone."""
    at_a_time: int = 1
    """The most mappings to this port at the same time."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unused:
    """A requested port that should stay closed. ``device`` is a name; without one ``address`` or ``mac`` is set."""

    transport: Transport
    family: int
    port: int
    device: str | None = None
    mac: str | None = None
    address: IPAddress | None = None
    lan: str | None = None
    """The LAN of the MAC address if it is not the gateway's first."""

    @property
    def who(self) -> str:
        return self.device or (device_id(self.mac, self.lan or "") if self.mac else str(self.address))


@dataclass(slots=True)
class Learned:
    """The result. ``peaks``: the most mappings of a named device at the same time."""

    needs: list[PortNeed] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences for the operator."""
    peaks: dict[str, int] = field(default_factory=dict)
    devices: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Devices that the policy does not name yet, as their tables."""


def learn(policy: Policy, evidence: EvidenceTable, wall: float, min_days: int, main_lan: str = "") -> Learned:
    """The needs of all devices in the evidence. ``wall``: now, seconds since the epoch; ``main_lan``: the gateway's
    first LAN."""
    learnt = Learned()
    devices: dict[str, list[Evidence]] = {}
    for opening in sorted(evidence.openings):
        devices.setdefault(opening.device, []).append(evidence.openings[opening])
    for device, rows in devices.items():
        name = name_of(policy, device, main_lan)
        if (why := _unreliable(evidence, device, name, wall)) is not None:
            learnt.notes.append(f"{name or device}: {why}; it requested {_ports(row for row in rows)}")
            learnt.unused += [_unused(row, name, main_lan) for row in rows]
        elif name is not None:
            known = evidence.devices.get(device)
            learnt.peaks[name] = learnt.peaks.get(name, 0) + (known.peak if known else 0)
            _learn_of(learnt, name, rows, min_days)
    return learnt


def _unreliable(evidence: EvidenceTable, device: str, name: str | None, wall: float) -> str | None:
    known = evidence.devices.get(device)
    if known is not None and known.last_incident is not None and known.last_incident > wall - KEEP_S:
        return "it had an incident, so its traffic does not count"
    if name is None:
        return f"it has no name (upnp-gw name {device} NAME)"
    if known is None or wall - known.first_seen < YOUNG_S:
        return "first seen less than 7 days ago, so its traffic does not count yet"
    return None


def _learn_of(learnt: Learned, name: str, rows: list[Evidence], min_days: int) -> None:
    seldom: list[Evidence] = []
    never: list[Evidence] = []
    for row in rows:
        if row.delegated:
            target = f"{row.opening.transport} {row.opening.port}"
            learnt.notes.append(
                f"{name}: {target} was requested for another host; write that grant by hand, with the key for"
            )
        elif len(row.days) >= min_days:
            learnt.needs.append(_need(row, name))
        else:
            (seldom if row.days else never).append(row)
    if never:
        learnt.notes.append(f"{name}: requested and never used: {_ports(never)}")
        learnt.unused += [_unused(row, name, "") for row in never]
    if seldom:
        learnt.notes.append(f"{name}: used on fewer than {min_days} days: {_ports(seldom)}")
        together = {day for row in seldom for day in row.days}
        if len(together) >= min_days:
            numbers = [row.opening.port for row in seldom]
            learnt.notes.append(
                f"{name}: its ports vary ({len(seldom)} on {len(together)} days, {min(numbers)} to {max(numbers)});"
                " give it a fixed port, or a range by hand"
            )


def _need(row: Evidence, name: str) -> PortNeed:
    opening = row.opening
    networks = () if row.more_remotes else prefixes(row.remotes)
    return PortNeed(
        device=name,
        transport=opening.transport,
        family=opening.family,
        port=opening.port,
        externals=frozenset(row.externals) if opening.family == 4 else frozenset(),
        remotes=networks if len(networks) <= FEW_REMOTES else (),
        at_a_time=max(1, row.peak),
        why=_why(row),
    )


def _why(row: Evidence) -> str:
    port = f"{row.opening.transport} {row.opening.port}" + (" over IPv6" if row.opening.family == 6 else "")
    days = f"{len(row.days)} days, the last {date.fromordinal(row.days[-1])}"
    protocols = ", ".join(row.vias) or "an unknown way"
    return f"{port}: {days}, {row.connections} connections, {row.bytes} bytes, asked over {protocols}"


def prefixes(remotes: Iterable[IPAddress]) -> tuple[IPNetwork, ...]:
    """Hosts as prefixes: a /32 for IPv4, a /64 for IPv6."""
    networks = {
        IPv6Network((int(address), REMOTE_PREFIX_6), strict=False) if address.version == 6 else ip_network(address)
        for address in remotes
    }
    return tuple(sorted(networks, key=lambda net: (net.version, int(net.network_address))))


def _unused(row: Evidence, name: str | None, main_lan: str) -> Unused:
    opening = row.opening
    if name is not None:
        return Unused(opening.transport, opening.family, opening.port, device=name)
    if (mac := mac_of(opening.device)) is not None:
        lan = lan_of(opening.device)
        elsewhere = lan if lan not in ("", main_lan) else None
        return Unused(opening.transport, opening.family, opening.port, mac=mac, lan=elsewhere)
    address = ip_address(opening.device)
    return Unused(opening.transport, address.version, opening.port, address=address)


def _ports(rows: Iterable[Evidence]) -> str:
    """``tcp 443, udp 3074 and 5 more``"""
    named = list(dict.fromkeys(f"{row.opening.transport} {row.opening.port}" for row in rows))
    more = len(named) - SHOWN
    return ", ".join(named[:SHOWN]) + (f" and {more} more" if more > 0 else "")
