"""The operations ``explain``, ``trial``, ``policy`` and ``reload``. Only ``reload`` changes anything."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

from upnp_gw import api
from upnp_gw.control.dry_run import request_of, to_explained, to_rules
from upnp_gw.control.serialize import Serializer
from upnp_gw.engine.audit import NotReplayable, facts_and_request
from upnp_gw.engine.crossed_invariants import crossings, with_crossings
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.kept_policies import NotKept
from upnp_gw.engine.policy_reload import PolicyUpdates
from upnp_gw.engine.reevaluation import RevokedMapping
from upnp_gw.gate.explain import Explanation, explain
from upnp_gw.gate.facts import ids_of, name_of
from upnp_gw.gate.remote import AddressSet
from upnp_gw.ledger.refusals import NotPlanned
from upnp_gw.model.device import GATEWAY
from upnp_gw.model.errors import ConfigError, GatewayError
from upnp_gw.model.mapping import IPAddress, Via
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.model.request import Refusal, Source
from upnp_gw.store.store import Store

NO_RULES = "no rule trace: not a map request, or recorded by an older version"
ALL_MAPPINGS = "one record for all mappings; each one that changed has a decision of its own"


class PolicyCommands:
    """``to_decision``: converts a record to the type of the API."""

    def __init__(
        self,
        gateway: Gateway,
        decider: Decider,
        store: Store,
        policy_updates: PolicyUpdates,
        to_decision: Callable[[DecisionRecord], api.Decision],
    ) -> None:
        self._decider = decider
        self._trial = gateway.trial
        self._environment = decider.environment
        self._store = store
        self._updates = policy_updates
        self._to_decision = to_decision
        self._serializer = Serializer(decider)

    async def explain(self, decision: str) -> api.Explained | None:
        """None: there is no such decision, or it has left the log."""
        records = await self._store.decisions(RecordFilter(id=decision, limit=1))
        if not records:
            return None
        try:
            return self._explained(records[0], await self._rules(records[0]))
        except NotReplayable:
            note = ALL_MAPPINGS if records[0].device == GATEWAY else NO_RULES
            return self._explained(records[0], None, note)
        except NotKept as error:
            return self._explained(records[0], None, str(error))

    async def _rules(self, record: DecisionRecord) -> Explanation:
        """The rules by the policy of that time. Raises NotReplayable, NotKept, StoreError.

        If the LANs have other prefixes now, the present network can give another answer. Then the answer by the
        recorded prefixes is taken.
        """
        inputs = [facts_and_request(record, self._environment.network), facts_and_request(record)]
        policy = self._decider.in_force.policy
        if record.policy != policy.digest:
            policy = await self._updates.kept.find(record.policy, policy.sets.values())
        explanations = [explain(policy, facts, request) for facts, request in inputs]
        return next((e for e in explanations if e.verdict.reasons[-1] in record.reasons), explanations[0])

    def _explained(
        self, record: DecisionRecord, explanation: Explanation | None, note: str | None = None
    ) -> api.Explained:
        decision = self._to_decision(record)
        return api.Explained(
            verdict=record.verdict,
            refusal=record.refusal,
            rule=record.rule,
            reasons=list(record.reasons),
            forbids=to_rules(explanation.forbids if explanation else ()),
            grants=to_rules(explanation.grants if explanation else ()),
            names=list(explanation.names if explanation else ()),
            lease_s=record.granted_s,
            policy=record.policy,
            facts=record.facts,
            decision=decision,
            holder=decision.holder,
            note=note,
            superseded=record.policy != self._decider.in_force.policy.digest,
        )

    async def trial(self, trial: api.Trial) -> api.Explained | api.Problem:
        """Decides a request that no device sent. Counts and writes nothing."""
        source = self._source(trial)
        if isinstance(source, api.Problem):
            return source
        target = ip_address(trial.internal_client) if trial.internal_client is not None else source.address
        if trial.remote is not None and trial.remote.version != target.version:
            return _problem(
                "invalid", f"accepted: an IPv{target.version} address or prefix, like the client", "remote_host"
            )
        answer = self._trial(request_of(trial, source, target))
        busy = answer.planned if isinstance(answer.planned, NotPlanned) else None
        explanation = explain(self._decider.in_force.policy, answer.facts, answer.request)
        sentences = crossings(self._decider.in_force, answer.facts, answer.request)
        explanation = replace(explanation, verdict=with_crossings(explanation.verdict, sentences))
        holder = self._serializer.holder(busy.holder) if busy else None
        return to_explained(explanation, answer.facts, answer.request, busy, holder)

    def _source(self, trial: api.Trial) -> Source | api.Problem:
        """The source of the request, by the device or address of the trial."""
        if trial.via is Via.OPERATOR:
            return Source(IPv4Address("127.0.0.1"), "")
        if trial.address is not None:
            address: IPAddress | None = ip_address(trial.address)
        else:
            address = self._address_of(str(trial.device))
        if address is None:
            problem = f"no address of {trial.device} is known now: give its address instead (--from)"
            return _problem("not-found", problem, "device")
        network = self._environment.network
        links = [link.name for link in network.lans if network.on_link(address, link.name)]
        return Source(address, links[0] if links else "")

    def _address_of(self, device: str) -> IPAddress | None:
        named = self._decider.in_force.policy.devices.get(device)
        if named is not None:
            ids = ids_of(named, self._environment.network.lan_names)
        else:
            ids = frozenset({self._environment.in_full(device)})
        seen = {address for each in ids for address in self._environment.addresses_of(each)}
        seen |= {row.internal.address for each in ids for row in self._decider.ledger.table.of_device(each)}
        known = seen & named.addresses or named.addresses if named is not None and named.addresses else seen
        return min(known, key=lambda address: (address.version, int(address)), default=None)

    async def policy(self) -> api.PolicyText:
        loaded = self._updates.in_force.loaded
        return api.PolicyText(
            source=self._updates.files.source,
            hash=loaded.policy.digest,
            since=api.moment(self._updates.in_force.since),
            text=loaded.text,
            approved_file=str(self._updates.files.machine),
            approved=loaded.approved,
            warnings=[str(finding) for finding in loaded.warnings],
            problem=self._updates.problem or self._updates.list_problem,
            lists=[self._list(one) for one in loaded.policy.sets.values()],
        )

    def _list(self, one: AddressSet) -> api.AddressList:
        return api.AddressList(
            name=one.name,
            file=one.file,
            entries=one.entries,
            changed_at=api.moment(one.as_of),
            stale_at=None if one.fresh_until is None else api.moment(one.fresh_until),
            stale=one.name in self._updates.stale_lists,
        )

    async def reload(self) -> api.Reloaded | api.Problem:
        """Loads both policy files, all or nothing."""
        try:
            reloaded = await self._updates.reload()
        except ConfigError as error:
            return _problem("policy", f"the old policy stays in force: {error}")
        except GatewayError as error:
            return _problem(Refusal.BACKEND.value, f"the old policy stays in force: {error}")
        return api.Reloaded(
            before=reloaded.before,
            hash=reloaded.loaded.policy.digest,
            source=self._updates.files.source,
            standing=reloaded.standing,
            fallen=[self._revoked(revoked) for revoked in reloaded.revoked],
            warnings=list(reloaded.warnings),
            opens=list(reloaded.opens),
        )

    def _revoked(self, revoked: RevokedMapping) -> api.RevokedMapping:
        row, device = revoked.mapping, revoked.mapping.device
        return api.RevokedMapping(
            mapping=row.id,
            device=device,
            device_name=name_of(self._decider.in_force.policy, device, self._environment.network.main_lan),
            transport=row.key.transport,
            external_port=row.key.external_port,
            internal_client=str(row.internal.address),
            internal_port=row.internal.port,
            reason=revoked.reason,
            decision=revoked.decision,
            kept=revoked.kept,
        )


def _problem(word: str, message: str, field: str | None = None) -> api.Problem:
    return api.Problem(error=word, message=message, field=field)
