"""The gate's record of one device, and its plain values for the store."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.request import Refusal


@dataclass(slots=True)
class DatagramClaims:
    """Changes and ports that came by datagram. Any LAN host can forge them, so they count apart: they never use up
    what the device may do over TCP (SR-26)."""

    changes: deque[float] = field(default_factory=deque)
    ports: frozenset[int] = frozenset()


@dataclass(slots=True)
class DeviceEntry:
    """One device's recent changes, ports of today, refusals and evidence of an infection."""

    first_seen: float
    last_seen: float
    address: IPAddress | None = None
    changes: deque[float] = field(default_factory=deque)
    day: int = 0
    ports: frozenset[int] = frozenset()
    claims: DatagramClaims = field(default_factory=DatagramClaims)
    evidence: dict[int, float] = field(default_factory=dict)
    """Internal port -> BOOTTIME of its last refusal."""
    granted: int = 0
    refused: Counter[Refusal] = field(default_factory=Counter)
    last_refusal: str | None = None


def entry_body(device: str, entry: DeviceEntry) -> dict[str, Any]:
    """The plain values for the store. The changes of the last minute and the evidence are lost at a restart."""
    return {
        "device": device,
        "address": str(entry.address) if entry.address is not None else None,
        "first_seen": entry.first_seen,
        "last_seen": entry.last_seen,
        "day": entry.day,
        "ports": sorted(entry.ports),
        "datagram_ports": sorted(entry.claims.ports),
        "granted": entry.granted,
        "refused": {refusal.value: count for refusal, count in entry.refused.items()},
        "last_refusal": entry.last_refusal,
    }


def entry_of(body: Mapping[str, Any]) -> DeviceEntry:
    """Raises KeyError or ValueError for values that no version has written."""
    known = {refusal.value: refusal for refusal in Refusal}
    return DeviceEntry(
        first_seen=body["first_seen"],
        last_seen=body["last_seen"],
        address=ip_address(body["address"]) if body["address"] is not None else None,
        day=body["day"],
        ports=frozenset(body["ports"]),
        claims=DatagramClaims(ports=frozenset(body.get("datagram_ports", ()))),
        granted=body["granted"],
        refused=Counter({known[word]: count for word, count in body["refused"].items() if word in known}),
        last_refusal=body["last_refusal"],
    )
