"""Makes the smallest set of grants for the ports that devices used, and tests, as tables of the policy file."""

from calendar import monthrange
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from upnp_gw.gate.floor import PRIVILEGED_BELOW
from upnp_gw.gate.managed_file import free_name, port_values
from upnp_gw.model.mapping import IPNetwork, Transport
from upnp_gw.suggest.needs import PortNeed, Unused

REVIEW_MONTHS = 6
MOST_MAPPINGS = 65535
NAME_PART = 24

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProposedGrant:
    """A grant as a table, and the needs that it covers."""

    table: Plain
    needs: tuple[PortNeed, ...]

    @property
    def name(self) -> str:
        return str(self.table["name"])


@dataclass(frozen=True, slots=True, order=True)
class _GrantKey:
    """Needs that are equal in these values can share a grant."""

    device: str
    families: tuple[int, ...]
    remotes: tuple[str, ...]
    externals: tuple[int, ...]


def propose_grants(
    needs: Collection[PortNeed], peaks: dict[str, int], used_names: Collection[str], today: date
) -> list[ProposedGrant]:
    """The grants. ``used_names``: names of existing rules; ``peaks``: the most mappings of a device at a time, 0:
    not known."""
    ports: dict[_GrantKey, dict[Transport, set[int]]] = {}
    for key, transport, port in _needed(needs):
        ports.setdefault(key, {}).setdefault(transport, set()).add(port)
    names = set(used_names)
    grants = []
    for key in sorted(ports):
        for transports, numbers in _together(ports[key]):
            covered = tuple(
                need
                for need in needs
                if (need.device, need.transport) in {(key.device, t) for t in transports}
                and need.port in numbers
                and need.family in key.families
            )
            table = _table(key, transports, numbers, covered, peaks.get(key.device, 0), names, today)
            names.add(str(table["name"]))
            grants.append(ProposedGrant(table, covered))
    return grants


def _needed(needs: Collection[PortNeed]) -> Iterable[tuple[_GrantKey, Transport, int]]:
    """Each port once, with both address families together."""
    ports: dict[tuple[str, Transport, int], list[PortNeed]] = {}
    for need in needs:
        ports.setdefault((need.device, need.transport, need.port), []).append(need)
    for (device, transport, port), group in sorted(ports.items()):
        remotes: set[IPNetwork] = {net for need in group for net in need.remotes}
        if not all(need.remotes for need in group):
            remotes = set()
        externals = {external for need in group for external in need.externals}
        low = any(external < PRIVILEGED_BELOW and external != port for external in externals)
        families = tuple(sorted({need.family for need in group}))
        yield (
            _GrantKey(device, families, tuple(sorted(map(str, remotes))), tuple(sorted(externals) if low else ())),
            transport,
            port,
        )


def _together(ports: dict[Transport, set[int]]) -> list[tuple[list[Transport], set[int]]]:
    """TCP and UDP share a grant if they have the same ports."""
    if len(ports) == 2 and ports[Transport.TCP] == ports[Transport.UDP]:
        return [([Transport.TCP, Transport.UDP], ports[Transport.TCP])]
    return [([transport], ports[transport]) for transport in sorted(ports)]


def _table(
    key: _GrantKey,
    transports: list[Transport],
    ports: set[int],
    needs: tuple[PortNeed, ...],
    peak: int,
    used_names: Collection[str],
    today: date,
) -> Plain:
    words = [key.device[:NAME_PART], *(t.value for t in transports), str(min(ports))]
    at_once = sum(need.at_a_time for need in needs)
    table: Plain = {
        "name": free_name("-".join(words), used_names),
        "who": key.device,
        "family": [f"ip{family}" for family in key.families],
        "proto": [transport.value for transport in transports],
        "int_ports": port_values((port, port) for port in ports),
    }
    if key.externals:
        table["ext_ports"] = port_values((port, port) for port in key.externals)
    table["max_mappings"] = min(MOST_MAPPINGS, (min(at_once, peak) if peak else at_once) + 1)
    if key.remotes:
        table["remote"] = list(key.remotes)
    table |= {"owner": "", "reason": _reason(needs), "review_by": months_later(today, REVIEW_MONTHS)}
    return table


def _reason(needs: tuple[PortNeed, ...]) -> str:
    first = max(needs, key=lambda need: need.at_a_time)
    more = len({(need.transport, need.port, need.family) for need in needs}) - 1
    return "suggested: " + first.why + (f"; and {more} more" if more else "")


def months_later(day: date, months: int) -> date:
    """The same day of a later month, or the last day of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > date.max.year:
        return date.max
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def case_for(need: PortNeed) -> Plain:
    """A test that a used port stays allowed."""
    external = need.port if need.port in need.externals or not need.externals else min(need.externals)
    ext = {} if need.family == 6 else {"ext": external}
    return {
        "name": f"{need.device} keeps {need.transport} {need.port}" + (" over IPv6" if need.family == 6 else ""),
        "from": {"device": need.device},
        "request": {"proto": need.transport.value, "int": need.port, **ext, **_family(need.family)},
        "want": "allow",
    }


def case_against(unused: Unused, outcome: str) -> Plain:
    """A test that an unused port stays closed."""
    sender: Plain = {"device": unused.device} if unused.device else {}
    sender |= {"mac": unused.mac} if unused.mac else {}
    sender |= {"lan": unused.lan} if unused.lan else {}
    sender |= {"ip": str(unused.address)} if unused.address else {}
    ext = {} if unused.family == 6 else {"ext": unused.port}
    return {
        "name": f"{unused.who} gets no {unused.transport} {unused.port}"
        + (" over IPv6" if unused.family == 6 else ""),
        "from": sender,
        "request": {"proto": unused.transport.value, "int": unused.port, **ext, **_family(unused.family)},
        "want": outcome,
    }


def _family(family: int) -> Plain:
    return {"family": "ip6"} if family == 6 else {}
