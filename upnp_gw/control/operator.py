"""Operations of the control socket on mappings, decisions and devices, and the status."""

import logging
import os
from ipaddress import IPv4Address

from msgspec import structs

from upnp_gw import __version__, api
from upnp_gw.control.above import above_check, chain_sentence, gateway_above
from upnp_gw.control.address_kind import address_kind
from upnp_gw.control.event_streams import EventStreams
from upnp_gw.control.on_demand import DaemonParts
from upnp_gw.control.serialize import (
    Serializer,
    contest_sentences,
    incident_sentence,
    parse_address,
)
from upnp_gw.engine.operator_question import questions_waiting
from upnp_gw.firewall.libnftables import describe_library
from upnp_gw.gate.facts import ids_of, on_other_lans
from upnp_gw.model.device import OPERATOR, device_id, lan_of, mac_of
from upnp_gw.model.mapping import Endpoint, Instant, Via
from upnp_gw.model.network import missing_interfaces, shared_prefixes
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Refused, Removed, Source, UnmapRequest

log = logging.getLogger(__name__)

GATEWAY_ITSELF = Source(IPv4Address("127.0.0.1"), "")


class GatewayOperator:
    """The ``Operator`` of the control server."""

    def __init__(self, daemon: DaemonParts, serializer: Serializer) -> None:
        self._daemon = daemon
        self._gateway = daemon.gateway
        self._decider = decider = daemon.decider
        self._ledger = decider.ledger
        self._environment = decider.environment
        self._store = daemon.store
        self._serializer = serializer
        self.shown, self.decision = serializer.mapping, serializer.decision
        started = daemon.started
        self.events = EventStreams(daemon.events, serializer, f"{started.wall * 1000:.0f}").watch

    # -- mappings

    async def mappings(self) -> list[api.Mapping]:
        rows = sorted(self._ledger.table, key=lambda m: m.granted_at)
        return await self._serializer.mappings(rows)

    async def mapping(self, mapping_id: str) -> api.Mapping | None:
        row = self._ledger.table.get(mapping_id)
        return self.shown(row) if row is not None else None

    async def add(self, body: api.AddMapping) -> api.Added | Refused | api.Problem:
        nat = self._environment.network.translates(body.client)
        if body.external is not None and (body.external == body.client) == nat:
            accepted = "an external address of the gateway" if nat else "that of the internal client: it has no NAT"
            return api.Problem(error="invalid", message=f"accepted: {accepted}", field="external_address")
        request = MapRequest(
            via=Via.OPERATOR,
            source=GATEWAY_ITSELF,
            transport=body.transport,
            internal=Endpoint(body.client, body.target_port),
            external_port=body.external_port,
            choice=PortChoice.EXACT,
            lifetime_s=body.lease_s,
            remote=body.remote,
            external_address=body.external,
            description=body.description,
            permanent=body.permanent,
        )
        reply = await self._gateway.handle(request)
        if isinstance(reply, Refused) and reply.holder is not None:
            word, holder = reply.refusal.value, self._serializer.holder(reply.holder)
            return api.Problem(error=word, message=reply.reason, decision=reply.decision, holder=holder)
        if not isinstance(reply, Granted):
            return _refused(reply)
        for sentence in reply.crosses:
            log.warning("%s, which the operator added, %s", reply.mapping.id, sentence)
        return api.Added(**structs.asdict(self.shown(reply.mapping)), crosses=list(reply.crosses))

    async def delete(self, mapping_id: str) -> api.Mapping | Refused:
        before = self._ledger.table.get(mapping_id)
        shown = self.shown(before) if before is not None else None
        reply = await self._gateway.handle(UnmapRequest(Via.OPERATOR, GATEWAY_ITSELF, mapping_id=mapping_id))
        return shown if isinstance(reply, Removed) and shown is not None else _refused(reply)

    # -- status, decisions, devices

    async def status(self) -> api.Status:
        network, config = self._environment.network, self._daemon.config
        now = self._environment.clock()
        policy = self._decider.in_force.policy
        active, parked, disabled = self._ledger.table.states()
        return api.Status(
            version=__version__,
            pid=os.getpid(),
            started_at=api.moment(self._daemon.started.wall),
            uptime_s=int(now.boot - self._daemon.started.boot),
            firewall=config.firewall.value,
            backend="memory" if config.backend == "memory" else "nftables",
            library=describe_library() if config.backend != "memory" else "",
            wan=api.WanState(
                interface=network.wan.name,
                up=network.wan.up,
                external_addresses=[str(address) for address in network.external],
                advertised=str(network.advertise) if network.advertise is not None else None,
                address_kind=address_kind(network.advertised),
                connected_s=max(0, int(now.boot - network.connected_at)) if network.connected_at is not None else 0,
            ),
            lan=[
                api.LanState(
                    interface=link.name,
                    up=link.up,
                    addresses=[str(a) for a in link.addresses],
                    nat=link.name not in network.without_nat,
                )
                for link in network.lans
            ],
            locations=list(self._daemon.locations()),
            mappings=api.MappingCount(
                active=active,
                parked=parked,
                disabled=disabled,
                limit=policy.limits.total_mappings,
            ),
            policy=api.PolicyState(
                source=self._daemon.policy_updates.files.source,
                hash=policy.digest,
                grants=len(policy.grants),
                default="ask" if policy.default.value == "ask" else "deny",
                mode="observe" if policy.mode.value == "observe" else "enforce",
            ),
            healed=self._gateway.healed,
            warnings=self._warnings(now),
            counters=self._daemon.counters(),
            questions=len(questions_waiting(self._decider, now.wall)),
            detected=list(self._daemon.detected),
            above=gateway_above(state, network, now) if (state := self._daemon.above()) is not None else None,
        )

    async def decisions(self, query: api.DecisionFilter) -> list[api.Decision]:
        records = await self._store.decisions(
            RecordFilter(
                devices=self._devices(query.device) if query.device else (),
                verdict=query.verdict,
                via=query.via.value if query.via else None,
                since=query.since.timestamp() if query.since else None,
                until=query.until.timestamp() if query.until else None,
                rule=query.rule,
                port=query.port,
                before=int(query.before[1:]) if query.before else None,
                changes=not query.unchanged,
                limit=query.limit,
            )
        )
        return [self.decision(record) for record in records]

    async def devices(self) -> list[api.Device]:
        now = self._environment.clock()
        history = {seen.device: seen for seen in self._decider.history.devices(now)}
        return [
            api.Device(
                device=device,
                name=self._serializer.name(device),
                addresses=sorted(self._addresses(device)),
                first_seen=api.moment(history[device].first_seen if device in history else now.wall),
                last_seen=api.moment(history[device].last_seen if device in history else now.wall),
                holds=self._ledger.table.held_by(device),
                granted=history[device].granted if device in history else 0,
                refused=sum(history[device].refused.values()) if device in history else 0,
                last_refusal=history[device].last_refusal if device in history else None,
                frozen=self._decider.history.frozen(device, now),
                dhcp_name=self._dhcp_name(device, now.wall),
            )
            for device in sorted({*history, *self._ledger.table.devices()} - {OPERATOR})
        ]

    async def doctor(self) -> list[api.Check]:
        state = self._daemon.above()
        above = [above_check(state, self._environment.network)] if state is not None else []
        return [*await self._daemon.doctor(), *above]

    def _dhcp_name(self, device: str, wall: float) -> str | None:
        network, lan = self._environment.network, lan_of(device)
        return self._environment.leases.leases.name_of(
            mac_of(device) or device, wall, lambda address: not lan or network.lan_of(address) == lan
        )

    def _warnings(self, now: Instant) -> list[str]:
        network = self._environment.network
        warnings = list(missing_interfaces((network.wan, *network.lans)))
        warnings += [
            *shared_prefixes(network.lans),
            *on_other_lans(self._decider.in_force.policy, network, self._environment.neighbours),
            *contest_sentences(self._environment.hosts.contests()),
        ]
        if not network.external and network.has_nat:
            warnings.append("the WAN has no external IPv4 address")
        if (state := self._daemon.above()) is not None and (state.problem or state.silent_since is not None):
            warnings.append(chain_sentence(state, network))
        warnings += self._daemon.obstacles()
        if (problem := self._daemon.policy_updates.problem) is not None:
            warnings.append(f"the policy files have changed and are not in force: {problem}")
        if (problem := self._daemon.policy_updates.list_problem) is not None:
            warnings.append(problem)
        warnings += [
            f"the address list {name} is out of date: what is new and depends on it is refused, and leases run out"
            for name in sorted(self._daemon.policy_updates.stale_lists)
        ]
        warnings += self._store.problems
        if self._daemon.config.policy is None:
            warnings.append(
                "no policy file: the built-in home policy limits an infected device, but does not stop it"
            )
        warnings += [
            f"incident: {incident_sentence(incident)}" for incident in self._decider.history.incidents(now)
        ]
        return warnings

    def _devices(self, device: str) -> tuple[str, ...]:
        """The identifiers of a device in the audit log, by its name in the policy, MAC address or address.

        With several LANs it is ``MAC@LAN``, with one ``MAC``: both are searched, since LANs can be added.
        """
        named, address = self._decider.in_force.policy.devices.get(device), parse_address(device)
        if named is not None:
            identifiers = ids_of(named, self._environment.network.lan_names)
        else:
            identifiers = frozenset(
                {self._environment.in_full(device) if address is None else self._environment.device_of(address)}
            )
        network = self._environment.network
        macs = {
            (mac, lan_of(each) or network.main_lan) for each in identifiers if (mac := mac_of(each)) is not None
        }
        return tuple(sorted(identifiers | {name for mac, lan in macs for name in (mac, device_id(mac, lan))}))

    def _addresses(self, device: str) -> set[str]:
        if mac_of(device) is None:
            return {device}
        held = {str(row.internal.address) for row in self._ledger.table.of_device(device) if not row.delegated}
        return held | {str(address) for address in self._environment.addresses_of(device)}


def _refused(reply: object) -> Refused:
    return reply if isinstance(reply, Refused) else Refused(Refusal.NO_SUCH, "there is no such mapping", None)
