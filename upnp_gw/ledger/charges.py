"""Charges against each device's quotas. An external port to an internal port counts once, over all addresses.

A dual-stack host maps one port for its IPv4 address and for several IPv6 addresses. For the quotas that is one
mapping. For the kernel it is one element or more for each address; elements are counted separately.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from upnp_gw.ledger.filters import allowed_peers
from upnp_gw.model.mapping import IPAddress, Mapping, Transport


class InternalPort(NamedTuple):
    """An internal port of a device, at any of its addresses."""

    transport: Transport
    port: int
    client: IPAddress | None
    """The internal client of a delegated mapping, which is another device; None: the device itself."""


class Charged(NamedTuple):
    """The charges of one device."""

    mappings: int
    """External ports to internal ports, each once."""
    by_grant: dict[str, int]
    """Grant name -> mappings charged to it."""
    elements: int
    """Elements of the kernel, including those that parked and disabled mappings would have."""
    on_internal_port: dict[int, frozenset[str]]
    """The external ports of the internal port in question -> the grants that each is charged to."""


ExternalPorts = dict[int, Counter[str]]
"""External port -> the grants of the rows with it."""


class Charges:
    """The charges of all rows. Each change is O(1)."""

    def __init__(self) -> None:
        self._ports: dict[str, dict[tuple[Transport, IPAddress | None], dict[int, Mapping | ExternalPorts]]] = {}
        """Device -> transport and client -> internal port -> its external ports. A single row, as most internal
        ports have it, stands for itself: that saves 0.4 KB a mapping."""
        self._mappings: Counter[str] = Counter()
        self._grants: dict[str, Counter[str]] = {}
        self._elements: Counter[str] = Counter()

    def add(self, mapping: Mapping) -> None:
        """Counts a row."""
        device, (transport, port, client) = mapping.device, internal_port_of(mapping)
        internal_ports = self._ports.setdefault(device, {}).setdefault((transport, client), {})
        present = internal_ports.get(port)
        if present is None:
            internal_ports[port] = mapping
            new_port = new_grant = True
        else:
            if isinstance(present, Mapping):
                internal_ports[port] = present = _external_ports(present)
            external = mapping.key.external_port
            new_port = external not in present
            rules = present.setdefault(external, Counter())
            rules[mapping.rule] += 1
            new_grant = rules[mapping.rule] == 1
        self._mappings[device] += new_port
        if new_grant:
            self._grants.setdefault(device, Counter())[mapping.rule] += 1
        self._elements[device] += len(allowed_peers(mapping))

    def replace(self, mapping: Mapping) -> None:
        """Holds this row instead of the one before it, which has the same charges, so that the old one can go."""
        transport, port, client = internal_port_of(mapping)
        internal_ports = self._ports[mapping.device][transport, client]
        if isinstance(internal_ports[port], Mapping):
            internal_ports[port] = mapping

    def remove(self, mapping: Mapping) -> None:
        """Takes back ``add`` of the same row."""
        device, (transport, port, client) = mapping.device, internal_port_of(mapping)
        of_device, grants = self._ports[device], self._grants[device]
        internal_ports = of_device[transport, client]
        present = internal_ports[port]
        if isinstance(present, Mapping):
            present = _external_ports(present)
        external = mapping.key.external_port
        rules = present[external]
        if _decrement(rules, mapping.rule):
            _decrement(grants, mapping.rule)
        if not rules:
            del present[external]
            _decrement(self._mappings, device)
        if not present:
            del internal_ports[port]
        if not internal_ports:
            del of_device[transport, client]
        if not of_device:
            del self._ports[device], self._grants[device]
        self._elements[device] -= len(allowed_peers(mapping))
        if not self._elements[device]:
            del self._elements[device]

    def mappings(self, device: str) -> int:
        """Number of a device's mappings, as its quota counts them."""
        return self._mappings[device]

    def elements(self, device: str) -> int:
        """Number of kernel elements for a device's mappings."""
        return self._elements[device]

    def of(self, device: str, internal: InternalPort, without: Iterable[Mapping] = ()) -> Charged:
        """A device's charges ``without`` these of its rows. O(its grants and the external ports of
        ``internal``)."""
        rows = list(without)
        if len(rows) == 1:
            return self._without_one(device, internal, rows[0])
        for row in rows:
            self.remove(row)
        try:
            external_ports = self._external_ports(device, internal)
            return Charged(
                self._mappings[device],
                dict(self._grants.get(device, {})),
                self._elements[device],
                {port: frozenset(rules) for port, rules in external_ports.items()},
            )
        finally:
            for row in reversed(rows):
                self.add(row)

    def _external_ports(self, device: str, internal: InternalPort) -> ExternalPorts:
        transport, port, client = internal
        present = self._ports.get(device, {}).get((transport, client), {}).get(port, {})
        return _external_ports(present) if isinstance(present, Mapping) else present

    def _without_one(self, device: str, internal: InternalPort, row: Mapping) -> Charged:
        """``of`` without one row, as for every refresh: nothing is removed and added again."""
        place, external = internal_port_of(row), row.key.external_port
        rules = self._external_ports(device, place)[external]
        last_of_rule = rules[row.rule] == 1
        last = last_of_rule and len(rules) == 1
        grants = dict(self._grants[device])
        ports = {port: frozenset(names) for port, names in self._external_ports(device, internal).items()}
        if last_of_rule:
            grants[row.rule] -= 1
            if not grants[row.rule]:
                del grants[row.rule]
        if last_of_rule and place == internal:
            ports[external] -= {row.rule}
            if not ports[external]:
                del ports[external]
        elements = self._elements[device] - len(allowed_peers(row))
        return Charged(self._mappings[device] - last, grants, elements, ports)


def _external_ports(row: Mapping) -> ExternalPorts:
    """The external ports of an internal port with this row alone."""
    return {row.key.external_port: Counter([row.rule])}


def internal_port_of(mapping: Mapping) -> InternalPort:
    """The internal port that a mapping is counted under. With ``for`` each internal client counts by itself."""
    client = mapping.internal.address if mapping.delegated else None
    return InternalPort(mapping.key.transport, mapping.internal.port, client)


def _decrement(counter: Counter[str], name: str) -> bool:
    """Counts one less. True if none is left."""
    counter[name] -= 1
    if counter[name]:
        return False
    del counter[name]
    return True
