"""Converts mappings, decisions, questions and events to the types of the control API."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as PlainValues
from functools import cache
from ipaddress import IPv4Address, ip_address
from typing import Any, Literal

from upnp_gw import api
from upnp_gw.control.above import lease_above
from upnp_gw.engine.audit import holder_of
from upnp_gw.engine.decider import Decider
from upnp_gw.gate.device_history import Incident
from upnp_gw.gate.facts import name_of
from upnp_gw.gate.managed_file import port_values
from upnp_gw.gate.operator_rules import OperatorRules
from upnp_gw.gate.question import Question
from upnp_gw.gate.remote import Hosts
from upnp_gw.ledger.events import (
    Confirmed,
    Decided,
    DeviceSeen,
    DoubleNatFound,
    Event,
    FirewallHealed,
    FirstMapping,
    IncidentBegan,
    Ipv6FirewallChanged,
    LanChanged,
    PolicyChanged,
    PolicyRefused,
    QuestionAsked,
    TableChanged,
    WanChanged,
)
from upnp_gw.model.device import OPERATOR
from upnp_gw.model.mapping import Instant, IPAddress, Mapping, RemotePeers, Screen
from upnp_gw.model.public_addresses import private_external
from upnp_gw.model.records import DecisionRecord
from upnp_gw.system.neighbour_events import AddressContest

PORTION = 500
"""Rows of a list between two turns of the event loop."""
MOST_CONTESTS = 8
"""Contested addresses that the status names at most: one host can claim thousands."""


OneEvent = (
    Decided
    | IncidentBegan
    | QuestionAsked
    | DeviceSeen
    | FirstMapping
    | DoubleNatFound
    | PolicyChanged
    | PolicyRefused
    | FirewallHealed
    | WanChanged
    | LanChanged
)
"""Each is one event of the API."""


class Serializer:
    """Adds present values: seconds left, counters, names."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._ledger = decider.ledger
        self._environment = decider.environment

    def mapping(self, row: Mapping) -> api.Mapping:
        return self._mapping(row, self._environment.clock(), self.name)

    async def mappings(self, rows: Iterable[Mapping]) -> list[api.Mapping]:
        """The same for many rows. Others have their turns meanwhile: 10,000 rows take 50 ms."""
        now, name = self._environment.clock(), cache(self.name)
        shown: list[api.Mapping] = []
        for row in rows:
            shown.append(self._mapping(row, now, name))
            if not len(shown) % PORTION:
                await asyncio.sleep(0)
        return shown

    def _mapping(self, row: Mapping, now: Instant, name: Callable[[str], str | None]) -> api.Mapping:
        usage = self._ledger.usage_of(row)
        external = self._decider.external_address(row)
        left_s = row.until - now.boot
        endless = row.permanent
        return api.Mapping(
            id=row.id,
            kind=row.kind,
            transport=row.key.transport,
            external_address=str(external) if external is not None else None,
            external_port=row.outside_port,
            internal_client=str(row.internal.address),
            internal_port=row.internal.port,
            remote_host=_format_remotes(row, self._decider.in_force.policy.screened),
            remote_port=row.key.remote_port or None,
            via=row.holds[0].via,
            vias=[hold.via for hold in row.holds],
            device=row.device,
            description=row.description,
            granted_at=api.moment(row.granted_at),
            expires_at=None if endless else api.moment(now.wall + left_s),
            lease_left_s=None if endless else max(0, int(left_s + 0.999)),
            connections=usage.connections,
            bytes=usage.bytes,
            last_used=api.moment(usage.last_used) if usage.last_used is not None else None,
            rule=row.rule,
            decision=row.decision,
            state=self._state(row),
            device_name=name(row.device),
            above=lease_above(row, self._environment.network, now) if row.above is not None else None,
        )

    def _state(self, row: Mapping) -> Literal["active", "parked", "contested", "disabled", "waiting"]:
        if row.parked:
            return "contested" if self._environment.client_contested(row.internal.address) else "parked"
        if not row.enabled or row.active:
            return "active" if row.enabled else "disabled"
        return "waiting" if row.waits else "parked"

    def decision(self, record: DecisionRecord) -> api.Decision:
        return api.Decision(
            **record.shared_fields(),
            at=api.moment(record.at),
            device_name=self.name(record.device),
            holder=self.holder(record.holder),
        )

    def holder(self, holder: PlainValues[str, Any] | Mapping | None) -> api.Holder | None:
        """The mapping in the way, or the recorded values of one."""
        plain = holder_of(holder) if isinstance(holder, Mapping) else holder
        return api.Holder(**plain, device_name=self.name(plain["device"])) if plain is not None else None

    def events(self, event: Event, wall: float) -> list[api.Event]:
        """As many as ``shown_events`` says. ``wall``: wall-clock seconds at which it happened."""
        at = api.moment(wall)
        if isinstance(event, TableChanged):
            return [
                *(api.Event(event="added", at=at, mapping=self.mapping(row)) for row in event.added),
                *(api.Event(event="changed", at=at, mapping=self.mapping(row)) for _, row in event.changed),
                *(
                    api.Event(event="removed", at=at, mapping=self.mapping(row), why=why)
                    for row, why in event.removed
                ),
            ]
        if isinstance(event, Ipv6FirewallChanged | Confirmed):
            return []  # the doctor reports the first
        return [api.Event(at=at, **self._event(event))]  # type: ignore[arg-type]

    def _event(self, event: OneEvent) -> dict[str, object]:
        """The fields of the event of the API."""
        match event:
            case Decided(record):
                return {"event": "decided", "decision": self.decision(record)}
            case IncidentBegan(incident):
                why = incident_sentence(incident)
                return {"event": "incident", "why": why, "incident": self.incident(incident)}
            case QuestionAsked(question, count):
                why = f"question {question.number}; {api.questions_wait(count)}"
                return {"event": "question", "why": why, "question": self.question(question)}
            case DeviceSeen(device, address):
                name = self.name(device)
                return {"event": "new-device", "device": device, "device_name": name, "address": str(address)}
            case FirstMapping(row):
                return {"event": "first-mapping", "mapping": self.mapping(row)}
            case DoubleNatFound(address):
                return {"event": "double-nat", "why": double_nat_sentence(address), "address": str(address)}
            case PolicyChanged():
                return {"event": "policy", "why": event.digest}
            case PolicyRefused(problem):
                return {"event": "policy-refused", "why": problem}
            case FirewallHealed():
                return {"event": "healed", "why": event.change}
            case WanChanged():
                return {"event": "wan"}
            case LanChanged():
                return {"event": "lan"}

    def wall(self) -> float:
        """Wall-clock seconds."""
        return self._environment.clock().wall

    def incident(self, incident: Incident) -> api.Incident:
        now = self._environment.clock()
        return api.Incident(
            device=incident.device,
            device_name=self.name(incident.device) if incident.device != OPERATOR else None,
            began_at=api.moment(incident.began.wall),
            ends_at=api.moment(now.wall + incident.ends - now.boot),
            ports=list(incident.ports),
            action=incident.action.value,
        )

    def question(self, question: Question) -> api.Question:
        """With the rule that an approval would write now."""
        policy, lan = self._decider.in_force.policy, self._environment.network.main_lan
        return to_question(question, OperatorRules(policy, self.wall(), lan))

    def name(self, device: str) -> str | None:
        policy = self._decider.in_force.policy
        return name_of(policy, device, self._environment.network.main_lan)


def to_question(question: Question, proposals: OperatorRules) -> api.Question:
    """A question as the type of the API, with the rule that an approval would write."""
    request, subject = question.request, question.subject
    return api.Question(
        number=question.number,
        earlier=list(question.earlier),
        device=subject.device,
        device_name=proposals.name_of(subject.device),
        address=str(request.source.address),
        via=request.via,
        family=subject.family.value,
        transport=subject.transport,
        internal_client=str(request.internal.address),
        internal_port=subject.port,
        external_ports=port_values(question.terms.external_ports),
        remote_hosts=[api.RemoteHost(host=str(peers.network), port=peers.port) for peers in subject.remotes],
        lease_s=question.terms.lease_s,
        description=request.description,
        rule=subject.rule,
        first_asked=api.moment(question.first_asked),
        last_asked=api.moment(question.last_asked),
        times=question.times,
        decision=question.decision,
        toml=proposals.toml(question),
    )


def shown_events(event: Event) -> int:
    """The number of events of the API that it becomes."""
    if isinstance(event, TableChanged):
        return len(event.added) + len(event.changed) + len(event.removed)
    return 0 if isinstance(event, Ipv6FirewallChanged | Confirmed) else 1


def double_nat_sentence(address: IPAddress) -> str:
    """``the external address 192.168.0.2 is private (RFC 1918): the internet does not reach it``."""
    why = private_external(address) if isinstance(address, IPv4Address) else None
    return f"the external address {address} is {why or 'not public'}: the internet does not reach it"


def incident_sentence(incident: Incident) -> str:
    """``ps5 was refused 27 distinct ports (freeze)``."""
    return f"{incident.device} was refused {len(incident.ports)} distinct ports ({incident.action})"


def contest_sentences(contests: Sequence[AddressContest]) -> Iterator[str]:
    """A sentence for each of the first contested addresses, and the number of further ones."""
    yield from map(_contest_sentence, contests[:MOST_CONTESTS])
    if len(contests) > MOST_CONTESTS:
        yield f"{len(contests) - MOST_CONTESTS} more addresses are claimed by several hosts"


def _contest_sentence(contest: AddressContest) -> str:
    """A sentence with the command that settles the contest."""
    return (
        f"{contest.address} on {contest.interface} is claimed by {' and by '.join(contest.macs)}:"
        " nothing is open to it until only one of them answers. To settle it:"
        f" ip neigh replace {contest.address} lladdr MAC dev {contest.interface} nud permanent"
    )


def _format_remotes(row: Mapping, lists: PlainValues[str, Hosts]) -> str | None:
    """The remote hosts that may connect, separated by spaces, or address lists; None: anyone."""
    if row.screen.name:
        return _format_screen(row.screen, lists)
    if row.key.remote is None and not row.filters and not any(hold.filters for hold in row.holds):
        return None
    filters = row.filters_in_force if row.key.remote is None else ()
    if filters:
        return " ".join(_format_peers(one) for one in filters)
    return " ".join(map(_format_host, row.remotes)) if row.remotes != (None,) else None


def _format_screen(screen: Screen, lists: PlainValues[str, Hosts]) -> str:
    words = (("only", screen.only), ("never", screen.never))
    return ", ".join(f"{word} {lists[one].text if one in lists else one}" for word, ids in words for one in ids)


def _format_peers(peers: RemotePeers) -> str:
    """Hosts of a filter with their port, if it has one: ``203.0.113.5:5000``, ``[2001:db8::/32]:5000``."""
    host = _format_host(peers.network)
    if not peers.port:
        return host
    return f"[{host}]:{peers.port}" if peers.network.version == 6 else f"{host}:{peers.port}"


def _format_host(remote: object) -> str:
    """A prefix, or an address without the prefix length of a single host."""
    text = str(remote)
    return text.removesuffix("/32") if "." in text else text.removesuffix("/128")


def parse_address(text: str) -> IPAddress | None:
    """The address; None: the text is not an address."""
    try:
        return ip_address(text)
    except ValueError:
        return None
