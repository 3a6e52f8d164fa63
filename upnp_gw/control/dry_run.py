"""Requests that are only tried: from a trial of the API to a request and its explanation. Pure.

The daemon tries them with the present facts, the command line with a policy file alone.
"""

from dataclasses import replace
from ipaddress import ip_address

from upnp_gw import api
from upnp_gw.engine.audit import plain_facts
from upnp_gw.gate import file_tests
from upnp_gw.gate.decision import Facts
from upnp_gw.gate.explain import Explanation, RuleTrace, explain
from upnp_gw.gate.read_times import NOON, PLAIN_DAY
from upnp_gw.gate.schema import Case, Family, Policy, Want
from upnp_gw.ledger.refusals import NotPlanned
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
from upnp_gw.model.request import MapRequest, PortChoice, Source


def request_of(trial: api.Trial, source: Source, target: IPAddress) -> MapRequest:
    """The request of a trial."""
    chooses = trial.via.datagram or (trial.via is Via.OPERATOR and trial.external_port is None)
    pinhole = target.version == 6
    usual = 0 if chooses else trial.internal_port
    return MapRequest(
        via=trial.via,
        source=source,
        transport=trial.transport,
        internal=Endpoint(target, trial.internal_port),
        external_port=trial.internal_port if pinhole else trial.external_port or usual,
        choice=PortChoice.SUGGESTED if chooses and not pinhole else PortChoice.EXACT,
        lifetime_s=trial.lease_s,
        remote=trial.remote,
        remote_port=trial.remote_port,
    )


def try_by_policy(policy: Policy, trial: api.Trial, where: str, exact: bool = False) -> api.Explained:
    """Tries it by a policy alone, as a ``[[test]]`` does: facts that are not given are favourable. ``exact``: for
    its external port and no other, over any protocol.

    Raises ConfigError if the file has no such device.
    """
    facts, request = file_tests.facts_and_request(policy, _case(policy, trial, where), where)
    if exact and trial.external_port:
        request = replace(request, choice=PortChoice.EXACT, external_port=trial.external_port)
    return to_explained(explain(policy, facts, request), facts, request)


def _case(policy: Policy, trial: api.Trial, where: str) -> Case:
    device = trial.device
    mac = None
    if device is not None and device not in policy.devices:
        mac, device = file_tests.mac_or_device(device, policy, where), None
    address = None if trial.address is None else ip_address(trial.address)
    target = None if trial.internal_client is None else ip_address(trial.internal_client)
    judged = target or address
    return Case(
        name="trial",
        key="",
        device=device,
        address=address,
        mac=mac,
        lan=None,
        zone=None,
        nat=None,
        via=trial.via,
        transport=trial.transport,
        family=Family.IP6 if judged is not None and judged.version == 6 else Family.IP4,
        int_port=trial.internal_port,
        ext_port=trial.external_port or None,
        target=target,
        remote=trial.remote,
        remote_port=trial.remote_port,
        ttl_s=trial.lease_s,
        minute_of_day=NOON,
        today=PLAIN_DAY,
        dated=False,
        holds=0,
        frozen=False,
        busy=(),
        stale=frozenset(),
        want=Want.ALLOW,
        want_ttl_s=None,
        want_rule=None,
        want_ext=None,
        want_remote=None,
    )


def to_explained(
    explanation: Explanation,
    facts: Facts,
    request: MapRequest,
    busy: NotPlanned | None = None,
    holder: api.Holder | None = None,
) -> api.Explained:
    """An explanation as the type of the API. ``busy``: the gate allows it, the ledger does not."""
    verdict = explanation.verdict
    refusal = busy.refusal if busy else verdict.refusal
    return api.Explained(
        verdict="busy" if busy else verdict.outcome.value,
        refusal=refusal.value if refusal else None,
        rule=verdict.rule,
        reasons=[*verdict.reasons, *([busy.reason] if busy else [])],
        forbids=to_rules(explanation.forbids),
        grants=to_rules(explanation.grants),
        names=list(explanation.names),
        lease_s=explanation.lease_s,
        policy=verdict.policy,
        facts={"device": facts.device, "address": str(facts.address)} | plain_facts(facts, request),
        holder=holder,
    )


def to_rules(traces: tuple[RuleTrace, ...]) -> list[api.Rule]:
    return [api.Rule(name=r.name, effect=r.effect.value, why=r.why, concerns=r.concerns) for r in traces]
