"""Charges against each device's quotas: an external port to an internal port counts once, over all its addresses.

A dual-stack host maps one port from its IPv4 address and from several IPv6 addresses. For the quotas that is one
mapping; for the kernel each is an element or more, and these are counted too.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as Table
from typing import NamedTuple

from upnp_gw.ledger.filters import allowed_peers
from upnp_gw.model.mapping import IPAddress, Mapping, Transport


class InternalPort(NamedTuple):
    """An internal port of a device, whatever its address."""

    transport: Transport
    port: int
    client: IPAddress | None
    """The internal client where that is another device (a delegated mapping); None: the device itself."""


class Charged(NamedTuple):
    """The charges of one device."""

    mappings: int
    """External ports to internal ports, each once."""
    by_grant: dict[str, int]
    """Grant name -> mappings charged to it."""
    elements: int
    """Elements of the kernel, those of parked and disabled mappings too."""
    on_inner: dict[int, frozenset[str]]
    """The external ports of the internal port in question -> the grants that each is charged to."""


class Charges:
    """The charges of all rows, kept beside them. Each change is O(1)."""

    def __init__(self) -> None:
        self._inner: dict[str, dict[InternalPort, dict[int, Counter[str]]]] = {}
        """Device -> internal port -> external port -> the grants of its rows."""
        self._mappings: Counter[str] = Counter()
        self._grants: dict[str, Counter[str]] = {}
        self._elements: Counter[str] = Counter()

    def add(self, mapping: Mapping) -> None:
        device, external = mapping.device, mapping.key.external_port
        on_inner = self._inner.setdefault(device, {}).setdefault(internal_port_of(mapping), {})
        if external not in on_inner:
            on_inner[external] = Counter()
            self._mappings[device] += 1
        on_inner[external][mapping.rule] += 1
        if on_inner[external][mapping.rule] == 1:
            self._grants.setdefault(device, Counter())[mapping.rule] += 1
        self._elements[device] += len(allowed_peers(mapping))

    def remove(self, mapping: Mapping) -> None:
        device, external, inner = mapping.device, mapping.key.external_port, internal_port_of(mapping)
        of_device, grants = self._inner[device], self._grants[device]
        rules = of_device[inner][external]
        if _take(rules, mapping.rule):
            _take(grants, mapping.rule)
        if not rules:
            del of_device[inner][external]
            _take(self._mappings, device)
        if not of_device[inner]:
            del of_device[inner]
        if not of_device:
            del self._inner[device], self._grants[device]
        self._elements[device] -= len(allowed_peers(mapping))
        if not self._elements[device]:
            del self._elements[device]

    def mappings(self, device: str) -> int:
        """Number of a device's mappings, as its quota counts them."""
        return self._mappings[device]

    def elements(self, device: str) -> int:
        return self._elements[device]

    def of(self, device: str, inner: InternalPort, without: Iterable[Mapping] = ()) -> Charged:
        """A device's charges ``without`` these of its rows. O(its grants and the external ports of ``inner``)."""
        rows = list(without)
        for row in rows:
            self.remove(row)
        try:
            on_inner: Table[int, Counter[str]] = self._inner.get(device, {}).get(inner, {})
            return Charged(
                self._mappings[device],
                dict(self._grants.get(device, {})),
                self._elements[device],
                {port: frozenset(rules) for port, rules in on_inner.items()},
            )
        finally:
            for row in reversed(rows):
                self.add(row)


def internal_port_of(mapping: Mapping) -> InternalPort:
    client = mapping.internal.address if mapping.delegated else None
    return InternalPort(mapping.key.transport, mapping.internal.port, client)


def _take(counter: Counter[str], name: str) -> bool:
    """Counts one less; True where none is left."""
    counter[name] -= 1
    if counter[name]:
        return False
    del counter[name]
    return True
