"""The operator's questions to the gate: why was it answered so, what would be answered, which policy is in force.

Asked over the control socket (``api.ROUTES``). Only ``reload`` changes anything.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, ip_address

from upnp_gw import api
from upnp_gw.control.dry_run import request_of, to_explained, to_rules
from upnp_gw.control.serialize import Serializer
from upnp_gw.engine.audit import NotReplayable, asked
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.kept_policies import NotKept
from upnp_gw.engine.policy_files import Enforcer
from upnp_gw.engine.policy_reload import Reload
from upnp_gw.engine.reevaluation import RevokedMapping
from upnp_gw.gate.explain import Explanation, explain
from upnp_gw.gate.facts import ids_of, name_of
from upnp_gw.ledger.plan import NotPlanned
from upnp_gw.model.errors import ConfigError, GatewayError
from upnp_gw.model.mapping import IPAddress, Via
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.model.request import Refusal, Source
from upnp_gw.store.store import Store

NO_RULES = "the rules cannot be told: this is no answer to a map request, or an older version wrote it"


class PolicyCommands:
    """Operations of ``api.ROUTES`` beside the ``Operator``'s. ``shown``: a record in the words of the API."""

    def __init__(
        self,
        gateway: Gateway,
        decider: Decider,
        store: Store,
        enforcer: Enforcer,
        reload: Reload,
        shown: Callable[[DecisionRecord], api.Decision],
    ) -> None:
        self._decider = decider
        self._trial = gateway.trial
        self._around = decider.environment
        self._store = store
        self._enforcer = enforcer
        self._reload = reload
        self._shown = shown
        self._telling = Serializer(decider)

    async def explain(self, decision: str) -> api.Explained | None:
        """None where there is no such decision (any more)."""
        records = await self._store.decisions(RecordFilter(id=decision, limit=1))
        if not records:
            return None
        try:
            return self._explained(records[0], await self._rules(records[0]))
        except NotReplayable:
            return self._explained(records[0], None, NO_RULES)
        except NotKept as error:
            return self._explained(records[0], None, str(error))

    async def _rules(self, record: DecisionRecord) -> Explanation:
        """The rules as they were, by the policy of then. Raises NotReplayable, NotKept, StoreError.

        The network of now may give another answer than then (a LAN has other prefixes). The one that the record
        tells of is taken in that case.
        """
        questions = [asked(record, self._around.network), asked(record)]
        policy = self._decider.policy
        if record.policy != policy.digest:
            policy = await self._reload.kept.find(record.policy)
        found = [explain(policy, facts, request) for facts, request in questions]
        return next((each for each in found if each.verdict.reasons[-1] in record.reasons), found[0])

    def _explained(
        self, record: DecisionRecord, found: Explanation | None, note: str | None = None
    ) -> api.Explained:
        decision = self._shown(record)
        return api.Explained(
            verdict=record.verdict,
            refusal=record.refusal,
            rule=record.rule,
            reasons=list(record.reasons),
            forbids=to_rules(found.forbids if found else ()),
            grants=to_rules(found.grants if found else ()),
            names=list(found.names if found else ()),
            lease_s=record.granted_s,
            policy=record.policy,
            facts=record.facts,
            decision=decision,
            holder=decision.holder,
            note=note,
            superseded=record.policy != self._decider.policy.digest,
        )

    async def trial(self, wanted: api.Trial) -> api.Explained | api.Problem:
        """Decides about a request that nobody made. Counts nothing, writes nothing."""
        source = self._source(wanted)
        if isinstance(source, api.Problem):
            return source
        target = ip_address(wanted.internal_client) if wanted.internal_client is not None else source.address
        if wanted.remote is not None and wanted.remote.version != target.version:
            return _problem("invalid", f"an IPv{target.version} address or prefix, like the client", "remote_host")
        answer = self._trial(request_of(wanted, source, target))
        busy = answer.planned if isinstance(answer.planned, NotPlanned) else None
        found = explain(self._decider.policy, answer.facts, answer.request)
        holder = self._telling.holder(busy.holder) if busy else None
        return to_explained(found, answer.facts, answer.request, busy, holder)

    def _source(self, wanted: api.Trial) -> Source | api.Problem:
        """Where the one who is said to ask would ask from."""
        if wanted.via is Via.OPERATOR:
            return Source(IPv4Address("127.0.0.1"), "")
        if wanted.address is not None:
            address: IPAddress | None = ip_address(wanted.address)
        else:
            address = self._address_of(str(wanted.device))
        if address is None:
            problem = f"no address of {wanted.device} is known now; try --from ADDRESS"
            return _problem("not-found", problem, "device")
        network = self._around.network
        links = [link.name for link in network.lans if network.on_link(address, link.name)]
        return Source(address, links[0] if links else "")

    def _address_of(self, device: str) -> IPAddress | None:
        named = self._decider.policy.devices.get(device)
        if named is not None:
            ids = ids_of(named, self._around.network.lan_names)
        else:
            ids = frozenset({self._around.in_full(device)})
        seen = {address for one in ids for address in self._around.addresses_of(one)}
        seen |= {row.internal.address for one in ids for row in self._decider.ledger.table.of_device(one)}
        known = seen & named.addresses or named.addresses if named is not None and named.addresses else seen
        return min(known, key=lambda address: (address.version, int(address)), default=None)

    async def policy(self) -> api.PolicyText:
        loaded = self._reload.now_in_force
        return api.PolicyText(
            source=self._enforcer.policies.source,
            hash=loaded.policy.digest,
            since=api.moment(self._reload.since),
            text=loaded.text,
            approved_file=str(self._enforcer.policies.machine),
            approved=loaded.approved,
            warnings=[str(finding) for finding in loaded.warnings],
            problem=self._reload.problem,
        )

    async def reload(self) -> api.Reloaded | api.Problem:
        """Both policy files as they are now, all of it or nothing."""
        try:
            done = await self._reload.reload(self._enforcer)
        except ConfigError as error:
            return _problem("policy", f"the policy stays as it was: {error}")
        except GatewayError as error:
            return _problem(Refusal.BACKEND.value, f"the policy stays as it was: {error}")
        return api.Reloaded(
            before=done.before,
            hash=done.loaded.policy.digest,
            source=self._enforcer.policies.source,
            standing=done.standing,
            fallen=[self._fallen(fallen) for fallen in done.fallen],
            warnings=list(done.warnings),
        )

    def _fallen(self, fallen: RevokedMapping) -> api.RevokedMapping:
        row, device = fallen.mapping, fallen.mapping.device
        return api.RevokedMapping(
            mapping=row.id,
            device=device,
            device_name=name_of(self._decider.policy, device, self._around.network.main_lan),
            transport=row.key.transport,
            external_port=row.key.external_port,
            internal_client=str(row.internal.address),
            internal_port=row.internal.port,
            reason=fallen.reason,
            decision=fallen.decision,
            kept=fallen.kept,
        )


def _problem(word: str, message: str, field: str | None = None) -> api.Problem:
    return api.Problem(error=word, message=message, field=field)
