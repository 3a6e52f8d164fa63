"""The mappings of the ledger as packets that they let in. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.rules.packets import (
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
    Numbers,
)
from upnp_gw.firewall.rules.ranges import Ranges, both, only, united, without
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import MappingKind, Screen

OUTSIDE = (PROTOCOL, SADDR, SPORT, ORIGINAL_DADDR, ORIGINAL_DPORT)
"""The fields of a mapping as a remote host sees them."""
FIELDS = (*OUTSIDE, DADDR, DPORT)
"""The fields that a mapping says something about."""


class Permit(NamedTuple):
    """A mapping of the ledger, or one that ended and whose flows may go on for a moment."""

    mapping: str
    version: int
    numbers: Numbers
    """Of ``FIELDS``."""
    lasts_s: float
    """Seconds that its elements may live; 0: only its flows go on."""
    carried: Ranges
    """The remote hosts whose flows the kernel carries: those that no longer pass the screen are cut otherwise."""
    allowed: bool = True
    """False: the policy in force cannot allow it."""

    @classmethod
    def of(
        cls,
        forward: Forward,
        external: Sequence[IPv4Address],
        ended: bool = False,
        allowed: bool = True,
        screened: Ranges | None = None,
    ) -> "Permit":
        """``external``: the gateway's external addresses. ``ended``: only its flows go on. ``screened``: the remote
        hosts that pass its screen; None: all."""
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
        passing = hosts if screened is None else both(hosts, screened)
        numbers = (protocol, passing, sport, outer, _one(port), inner, _one(internal.port))
        return cls(forward.id, version, numbers, 0.0 if ended else forward.timeout_s, hosts, allowed)

    @property
    def carries(self) -> Numbers:
        """Of ``OUTSIDE``: the flows that the kernel carries."""
        protocol, _, *others = self.numbers[: len(OUTSIDE)]
        return protocol, self.carried, *others


def _one(number: int) -> Ranges:
    return ((number, number),)


def passing(screen: Screen, version: int, hosts: Mapping[str, AddressRanges]) -> Ranges | None:
    """The remote hosts of an IP version that pass a screen; None: all. Raises KeyError for an unknown list."""
    if not screen.name:
        return None
    found = EVERY_ADDRESS[version]
    for one in screen.only:
        found = both(found, tuple(hosts[one].spans(version)))
    for one in screen.never:
        found = without(found, tuple(hosts[one].spans(version)))
    return found


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
