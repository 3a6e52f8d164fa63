"""The subject of a question to the operator and the terms of its approval (``ApprovalTerms``). Pure.

An approval allows no more than the request: its remote hosts, address family, external ports and lease. The
question shows each of these, and the rule of the approval copies them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import NamedTuple

from upnp_gw.gate.decision import Facts, PortRanges
from upnp_gw.gate.match import RuleInput, permitted
from upnp_gw.gate.portset import contains, includes, normalized
from upnp_gw.gate.remote import RemoteHosts
from upnp_gw.gate.schema import Family, Grant, Policy
from upnp_gw.model.mapping import IPAddress, IPNetwork, RemotePeers, Transport
from upnp_gw.model.request import MapRequest

ANYWHERE6 = IPv6Network("::/0")
MOST_EXTERNAL = 16
"""Most ranges of external ports in one question. Syncthing tries eleven ports."""
NO_GRANT = Grant("", None)
"""Used in place of the waiting grant where the question comes from the policy's ``default = "ask"``."""


class QuestionSubject(NamedTuple):
    """The subject of a request. Requests with the same subject share one question."""

    device: str
    transport: Transport
    port: int
    """Internal port."""
    target: IPAddress | None
    """The internal client if it is another host; None: the device itself."""
    family: Family
    remotes: tuple[RemotePeers, ...]
    """Remote hosts that would connect, sorted; empty: anyone."""
    rule: str | None
    """The grant that needs an approval; None: no grant matches and the default is ask."""

    def answered_by(self, granted: "QuestionSubject") -> bool:
        """True where a granted request with the other subject answers this question too."""
        same = (self.transport, self.port, self.target, self.family)
        everyone = not granted.remotes or (set(granted.remotes).issuperset(self.remotes) and bool(self.remotes))
        return everyone and same == (granted.transport, granted.port, granted.target, granted.family)


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """The external ports and the lease that an approval allows."""

    external_ports: PortRanges
    """Empty for IPv6. An IPv4 pinhole has its internal port here, so that the approval allows no other one if its
    LAN gets NAT."""
    lease_s: int
    """The longest requested lease, at most the limit ``max_hold``."""

    def joined(self, other: "ApprovalTerms") -> "ApprovalTerms":
        """The union of both; only these terms if the union has too many port ranges for one question."""
        ports = normalized((*self.external_ports, *other.external_ports))
        if len(ports) > MOST_EXTERNAL:
            return self
        return ApprovalTerms(ports, max(self.lease_s, other.lease_s))

    def cover(self, other: "ApprovalTerms") -> bool:
        """True where these terms include all of the other's."""
        return includes(self.external_ports, other.external_ports) and other.lease_s <= self.lease_s


def subject_of(facts: Facts, request: MapRequest, rule: str | None) -> QuestionSubject:
    """The subject of a request, which must have all FILTERs that would be in force."""
    family = Family.IP6 if request.internal.address.version == 6 else Family.IP4
    target = request.internal.address if facts.target_device != facts.device else None
    return QuestionSubject(
        facts.device, request.transport, request.internal.port, target, family, _remotes(request), rule
    )


def terms_of(
    policy: Policy, facts: Facts, request: MapRequest, waiting: Grant | None, can_have: Callable[[int], bool]
) -> ApprovalTerms:
    """The terms of a request. ``waiting``: the grant that needs the approval. ``can_have``: True if the gateway can
    give this external port; if not, and it may choose another, the question offers all permitted ports."""
    max_hold_s = policy.limits.max_hold_s
    lease_s = min(request.lifetime_s or max_hold_s, max_hold_s)
    if request.internal.address.version == 6:
        return ApprovalTerms((), lease_s)
    rule_input, suggested = RuleInput(policy, facts, request), request.external_port
    ports = permitted(waiting or NO_GRANT, rule_input)
    if rule_input.exact is None and suggested and contains(ports, suggested) and can_have(suggested):
        ports = ((suggested, suggested),)
    return ApprovalTerms(ports[:MOST_EXTERNAL], lease_s)


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """The keys ``remote`` and ``remote_ports`` of a grant."""

    remote: tuple[IPNetwork, ...]
    """Empty: anyone, or those of ``granted``."""
    granted: RemoteHosts | None
    """Those of the waiting grant, where they are more than a list of prefixes."""
    ports: tuple[int, ...]
    """Ports of the remote hosts; empty: any."""


def remote_access(subject: QuestionSubject, waiting: Grant | None) -> RemoteAccess | None:
    """The remote hosts that may connect after an approval: those of the request that the waiting grant allows.

    None: a grant cannot state them, because none remains or the FILTERs name different ports for different hosts.
    """
    networks = sorted({peers.network for peers in subject.remotes}, key=_order)
    ports = _ports_of_each(subject.remotes, len(networks))
    if ports is None:
        return None
    if waiting is None or waiting.remote is None:
        return RemoteAccess(_unless_everywhere(networks), None, ports)
    plain = waiting.remote.plain
    if plain is None:
        return _within_lists(waiting.remote, _unless_everywhere(networks), ports)
    version = 6 if subject.family is Family.IP6 else 4
    granted = [net for net in plain if net.version == version]
    allowed = set(_overlaps(networks, granted)) if networks else set(granted)
    return RemoteAccess(tuple(sorted(allowed, key=_order)), None, ports) if allowed else None


def _within_lists(
    granted: RemoteHosts, networks: tuple[IPNetwork, ...], ports: tuple[int, ...]
) -> RemoteAccess | None:
    """Of the named remote hosts those that are in the lists whole; the lists themselves where nobody is named."""
    if not networks:
        return RemoteAccess((), granted, ports)
    if not (named := tuple(net for net in networks if granted.includes(net))):
        return None
    return RemoteAccess(named, granted if granted.never is not None else None, ports)


def _ports_of_each(remotes: Sequence[RemotePeers], hosts: int) -> tuple[int, ...] | None:
    """The source ports of these remote hosts; empty: any. None: they differ from host to host."""
    ports = sorted({peers.port for peers in remotes})
    if len(ports) > 1 and (0 in ports or len(remotes) != len(ports) * hosts):
        return None
    return tuple(port for port in ports if port)


def _overlaps(networks: Iterable[IPNetwork], granted: Sequence[IPNetwork]) -> Iterator[IPNetwork]:
    """The intersection of two lists of prefixes."""
    for network in networks:
        for grant_network in granted:
            low, high = sorted((network, grant_network), key=lambda net: net.prefixlen)
            if high.network_address in low:
                yield high


def _unless_everywhere(networks: Sequence[IPNetwork]) -> tuple[IPNetwork, ...]:
    return () if any(net.prefixlen == 0 for net in networks) else tuple(networks)


def _order(network: IPNetwork) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _remotes(request: MapRequest) -> tuple[RemotePeers, ...]:
    """The remote hosts that the request names; empty: anyone."""
    peers_set: set[RemotePeers] = set(request.filters)
    if request.remote is not None or request.remote_port:
        peers_set = {RemotePeers(request.remote or ANYWHERE6, request.remote_port)}
    if any(peers.network.prefixlen == 0 and not peers.port for peers in peers_set):
        return ()
    return tuple(sorted(peers_set, key=lambda peers: (_order(peers.network), peers.port)))
