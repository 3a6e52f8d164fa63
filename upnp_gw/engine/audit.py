"""The record of each decision: requester, request, protocol, answer, reasons and facts.

``map_record`` keeps enough of the facts to decide again: ``asked`` gives the same request and the same facts back,
so that a decision can be explained, or replayed under another policy, long after. Pure.
"""

from collections.abc import Container, Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import fields
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Any

from upnp_gw.gate.decide import lifetime_s
from upnp_gw.gate.decision import Facts, HeldMappings, Verdict
from upnp_gw.gate.floor import exact_external
from upnp_gw.ledger.refusals import NotPlanned
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import GATEWAY, OPERATOR
from upnp_gw.model.mapping import (
    DecisionId,
    Endpoint,
    Instant,
    IPAddress,
    IPNetwork,
    Mapping,
    RemotePeers,
    Transport,
    Via,
)
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.records import DecisionRecord
from upnp_gw.model.request import (
    MapRequest,
    PortChoice,
    ReleaseRequest,
    Source,
    UnmapPortRequest,
    UnmapRangeRequest,
    UnmapRequest,
)

FLOOR_OK = "floor ok"
"""The first reason of a decision whose request the floor let through."""
NO_WIDER = "nobody else may connect than before: "
"""Beginning of the last reason if a mapping stays as it is, although its grant would let more hosts connect."""
DONE = {"restore": "restored", "reload": "decided again about"}
"""Action -> what the gateway did with all its mappings, see ``record_all``."""
LISTED = 1000
"""The most ids, or ranges of them, in one reason."""


class NotReplayable(ValueError):
    """A record that is no answer to a map request, or was written by an older version."""


def map_record(
    now: Instant,
    decision: DecisionId,
    request: MapRequest,
    facts: Facts,
    verdict: Verdict,
    *,
    busy: NotPlanned | None = None,
    mapping: str | None = None,
    action: str = "map",
    unchanged: bool = False,
) -> DecisionRecord:
    """``busy``: the gate allowed it and the ledger could not. ``action``: map, renew, restore, reload."""
    refusal = busy.refusal if busy else verdict.refusal
    return DecisionRecord(
        id=decision,
        at=now.wall,
        via=request.via,
        device=facts.device,
        address=str(request.source.address),
        action=action,
        transport=request.transport,
        external_port=request.external_port,
        internal_client=str(request.internal.address),
        internal_port=request.internal.port,
        remote_host=str(request.remote) if request.remote else None,
        lease_s=request.lifetime_s,
        description=request.description,
        verdict="busy" if busy else verdict.outcome.value,
        refusal=refusal.value if refusal else None,
        rule=verdict.rule,
        reasons=(*verdict.reasons, busy.reason) if busy else verdict.reasons,
        policy=verdict.policy,
        mapping=mapping,
        facts=plain_facts(facts, request),
        choice=request.choice.value,
        granted_s=lifetime_s(request, verdict.clamps) if verdict.clamps is not None else None,
        unchanged=unchanged,
        holder=holder_of(busy.holder) if busy and busy.holder else None,
    )


def holder_of(mapping: Mapping) -> dict[str, Any]:
    """A mapping that is in the way of a request, in plain values: fields of ``upnp_gw.api.Holder``."""
    return {
        "mapping": mapping.id,
        "device": mapping.device,
        "internal_client": str(mapping.internal.address),
        "internal_port": mapping.internal.port,
        "description": mapping.description,
    }


def removal_record(
    now: Instant,
    decision: DecisionId,
    device: str,
    request: UnmapRequest | UnmapPortRequest | UnmapRangeRequest | ReleaseRequest,
    mapping: Mapping,
    verdict: Verdict,
) -> DecisionRecord:
    """The record of a removed mapping. ``device`` asked for the removal."""
    return DecisionRecord(
        id=decision,
        at=now.wall,
        via=request.via,
        device=OPERATOR if request.via is Via.OPERATOR else device,
        address=str(request.source.address),
        action="unmap",
        transport=mapping.key.transport,
        external_port=mapping.key.external_port,
        internal_client=str(mapping.internal.address),
        internal_port=mapping.internal.port,
        remote_host=str(mapping.key.remote) if mapping.key.remote else None,
        lease_s=None,
        description=mapping.description,
        verdict=verdict.outcome.value,
        refusal=verdict.refusal.value if verdict.refusal else None,
        rule=verdict.rule,
        reasons=verdict.reasons,
        policy=verdict.policy,
        mapping=mapping.id,
    )


def record_all(transaction: Transaction, before: Sequence[Mapping], action: str, policy: str) -> None:
    """One record for all mappings that the gateway decided again about, at a start or under another policy.

    A mapping that did not change has no record of its own: it still names the decision that let it in. Ten starts
    with 10,000 mappings must not fill the audit log. ``before``: the mappings before it; ``policy``: the hash of
    the policy that decided.
    """
    if before:
        transaction.records.append(_record_of_all(transaction, before, action, policy))


def _record_of_all(transaction: Transaction, before: Sequence[Mapping], action: str, policy: str) -> DecisionRecord:
    table = transaction.ledger.table
    with_record = {record.mapping for record in transaction.records if not record.unchanged}
    lists: dict[str, list[str]] = {"mappings": [], "changed": [], "ended": []}
    for mapping in before:
        lists["mappings"].append(mapping.id)
        if table.get(mapping.id) is None:
            lists["ended"].append(mapping.id)
        elif mapping.id in with_record:
            lists["changed"].append(mapping.id)
    count, changed, ended = (len(ids) for ids in lists.values())
    sentence = (
        f"{DONE[action]} {count} mapping{'s' * (count > 1)}, {changed or 'none'} changed, {ended or 'none'} ended"
    )
    return DecisionRecord(
        id=transaction.ledger.numbers.next_decision(),
        at=transaction.now.wall,
        via=Via.OPERATOR,
        device=GATEWAY,
        address="",
        action=action,
        transport=None,
        external_port=None,
        internal_client=None,
        internal_port=None,
        remote_host=None,
        lease_s=None,
        description="",
        verdict="allow",
        refusal=None,
        rule=None,
        reasons=(
            *(f"{what}: {_id_ranges(ids)}" for what, ids in lists.items() if ids),
            sentence,
        ),
        policy=policy,
    )


def _id_ranges(ids: Iterable[str]) -> str:
    """``m1-m3 m7``: ids in the order of their numbers."""
    ranges: list[list[int]] = []
    for number in sorted(int(each[1:]) for each in ids):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    listed = [f"m{first}" if first == last else f"m{first}-m{last}" for first, last in ranges[:LISTED]]
    more = sum(last - first + 1 for first, last in ranges[LISTED:])
    return " ".join(listed) + (f" and {more} more" if more else "")


# -- facts in plain values, and back

_IN_RECORD = frozenset({"device", "address"})
"""Fields of ``Facts`` that the record has beside its facts."""
_OWN_WORDS = frozenset({"network", "gateway_ports", "int_ports_today", "held", "stale_sets"})
"""Those that are not stored as they are: the network is the present one, of ports only what matters is kept."""


_PLAIN = tuple(each.name for each in fields(Facts) if each.name not in _IN_RECORD | _OWN_WORDS)


def plain_facts(facts: Facts, request: MapRequest) -> dict[str, Any]:
    """The facts that decided, in plain values. Every other field of ``Facts`` is plain already."""
    plain = {name: getattr(facts, name) for name in _PLAIN}
    exact = exact_external(request)
    uses = exact is not None and facts.gateway_ports.holds(request.transport, exact)
    return {
        **plain,
        **_remote_ports(request),
        "interface": request.source.interface,
        "prefixes": {lan: list(facts.network.prefixes.get(lan, ())) for lan in _lans(facts)},
        "held": facts.held.total,
        "held_by_device": facts.held.by_device,
        "held_by_grant": dict(facts.held.by_grant),
        "elements": facts.held.elements,
        "held_on_port": {str(port): sorted(rules) for port, rules in facts.held.on_port.items()},
        "int_ports_today": len(facts.int_ports_today),
        "int_port_known": request.internal.port in facts.int_ports_today,
        "gateway_uses_port": uses,
        **({"without_nat": True} if request.pinhole and request.internal.address.version == 4 else {}),
        **({"stale_sets": sorted(facts.stale_sets)} if facts.stale_sets else {}),
    }


def _remote_ports(request: MapRequest) -> dict[str, Any]:
    """The remote host's port and the PCP FILTERs, for requests that have them."""
    found: dict[str, Any] = {}
    if request.remote_port:
        found["remote_port"] = request.remote_port
    if request.filters:
        found["filters"] = [[str(peers.network), peers.port] for peers in request.filters]
    return found


def _lans(facts: Facts) -> list[str]:
    """The LANs that a forbid for a zone may depend on; empty where the gateway serves a single LAN."""
    return sorted({facts.lan, facts.target_lan} - {""}) if len(facts.network.lans) > 1 else []


def facts_and_request(record: DecisionRecord, network: Network | None = None) -> tuple[Facts, MapRequest]:
    """The facts and the request of a record. Raises NotReplayable.

    ``network`` is the present one; None: one in which these hosts are on a LAN, so that only the policy can make
    a difference.
    """
    try:
        request = _request(record)
        return _facts(record, request, network or _network(request, record.facts.get("prefixes", {}))), request
    except (KeyError, TypeError, ValueError) as error:
        raise NotReplayable(f"{record.id} cannot be decided again") from error


def _request(record: DecisionRecord) -> MapRequest:
    if record.internal_client is None or record.internal_port is None or record.choice is None:
        raise NotReplayable(record.id)
    client = ip_address(record.internal_client)
    return MapRequest(
        via=record.via,
        source=Source(ip_address(record.address), record.facts["interface"]),
        transport=Transport(record.transport or ""),
        internal=Endpoint(client, record.internal_port),
        external_address=client if record.facts.get("without_nat") else None,
        external_port=record.external_port or 0,
        choice=PortChoice(record.choice),
        lifetime_s=record.lease_s,
        remote=ip_network(record.remote_host) if record.remote_host else None,
        description=record.description,
        remote_port=record.facts.get("remote_port", 0),
        filters=tuple(RemotePeers(ip_network(net), port) for net, port in record.facts.get("filters", ())),
    )


def _facts(record: DecisionRecord, request: MapRequest, network: Network) -> Facts:
    stored: Table[str, Any] = record.facts
    port, exact = request.internal.port, exact_external(request)
    own = frozenset({(request.transport, exact)} if exact is not None and stored["gateway_uses_port"] else ())
    return Facts(
        device=record.device,
        address=request.source.address,
        network=network,
        gateway_ports=GatewayPorts(listening=own),
        held=_held(stored),
        int_ports_today=_ports(stored["int_ports_today"], port, stored["int_port_known"]),
        stale_sets=frozenset(stored.get("stale_sets", ())),
        **{name: stored[name] for name in _PLAIN if name in stored},
    )


def _held(stored: Table[str, Any]) -> HeldMappings:
    """Reads what the device held. Older records lack ``elements`` and ``held_on_port``."""
    on_port = {int(port): frozenset(rules) for port, rules in stored.get("held_on_port", {}).items()}
    elements = stored.get("elements", stored["held_by_device"])
    return HeldMappings(stored["held"], stored["held_by_device"], stored["held_by_grant"], elements, on_port)


def _ports(count: int, port: int, known: bool) -> frozenset[int]:
    """As many ports as there were, the one asked for among them or not: no grant looks at more."""
    others = (other for other in range(1, 65536) if other != port)
    some = frozenset(next(others) for _ in range(count - known))
    return some | {port} if known else some


def _network(request: MapRequest, prefixes: Table[str, list[str]]) -> Network:
    """A network whose LANs contain the hosts of the request. ``prefixes``: LAN -> its recorded prefixes."""
    hosts: set[IPAddress] = {request.source.address, request.internal.address}
    around = tuple(ip_network(f"{host}/{host.max_prefixlen}") for host in hosts)
    lans = [
        Link(name, 2, True, tuple(_own(ip_network(text), hosts) for text in texts))
        for name, texts in prefixes.items()
    ]
    lans = lans or [Link("lan", 2, True)]
    return Network(
        wan=Link("wan", 1, True),
        lans=tuple(lans),
        routed=around,
        without_nat=frozenset(link.name for link in lans if request.pinhole),
        emulated=request.source.address.is_loopback,  # only the emulator has clients there
    )


def _own(net: IPNetwork, hosts: Container[IPAddress]) -> IPv4Interface | IPv6Interface:
    """An address in this prefix for the gateway, other than the addresses of these hosts."""
    ends = net.network_address, net.broadcast_address
    return ip_interface(f"{next((end for end in ends if end not in hosts), ends[0])}/{net.prefixlen}")
