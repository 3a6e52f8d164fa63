"""A request that nobody made: from the operator's words to a request, and what the gate would say of it.

The daemon tries it by the facts of now, the command line by a policy file alone. Pure.
"""

from ipaddress import ip_address

from upnp_gw import api
from upnp_gw.engine.audit import told
from upnp_gw.gate import file_tests as cases
from upnp_gw.gate.decision import Facts, Outcome
from upnp_gw.gate.explain import Explanation, RuleTrace, explain
from upnp_gw.gate.schema import Case, Family, Policy
from upnp_gw.ledger.plan import NotPlanned
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
from upnp_gw.model.request import MapRequest, PortChoice, Source

NOON = cases.NOON


def request_of(wanted: api.Trial, source: Source, target: IPAddress) -> MapRequest:
    """The request that a trial stands for."""
    chooses = wanted.via.datagram or (wanted.via is Via.OPERATOR and wanted.external_port is None)
    pinhole = target.version == 6
    usual = 0 if chooses else wanted.internal_port
    return MapRequest(
        via=wanted.via,
        source=source,
        transport=wanted.transport,
        internal=Endpoint(target, wanted.internal_port),
        external_port=wanted.internal_port if pinhole else wanted.external_port or usual,
        choice=PortChoice.SUGGESTED if chooses and not pinhole else PortChoice.EXACT,
        lifetime_s=wanted.lease_s,
        remote=wanted.remote,
        remote_port=wanted.remote_port,
    )


def try_by_policy(policy: Policy, wanted: api.Trial, where: str) -> api.Explained:
    """Tried by a policy alone, in the scene of a ``[[test]]``: what is left open is filled in favour of the
    request. Raises ConfigError where there is no such device in the file."""
    facts, request = cases.facts_and_request(policy, _case(policy, wanted, where), where)
    return to_explained(explain(policy, facts, request), facts, request)


def _case(policy: Policy, wanted: api.Trial, where: str) -> Case:
    device = wanted.device
    mac = None
    if device is not None and device not in policy.devices:
        mac, device = cases.mac_or_device(device, policy, where), None
    address = None if wanted.address is None else ip_address(wanted.address)
    target = None if wanted.internal_client is None else ip_address(wanted.internal_client)
    judged = target or address
    return Case(
        name="trial",
        key="",
        device=device,
        address=address,
        mac=mac,
        lan=None,
        zone=None,
        via=wanted.via,
        transport=wanted.transport,
        family=Family.IP6 if judged is not None and judged.version == 6 else Family.IP4,
        int_port=wanted.internal_port,
        ext_port=wanted.external_port or None,
        target=target,
        remote=wanted.remote,
        remote_port=wanted.remote_port,
        ttl_s=wanted.lease_s,
        minute_of_day=NOON,
        holds=0,
        want=Outcome.ALLOW,
        want_ttl_s=None,
        want_rule=None,
    )


def to_explained(
    found: Explanation,
    facts: Facts,
    request: MapRequest,
    busy: NotPlanned | None = None,
    holder: api.Holder | None = None,
) -> api.Explained:
    """An explanation in the words of the API, without a record. ``busy``: the gate allows it, the ledger cannot."""
    verdict = found.verdict
    refusal = busy.refusal if busy else verdict.refusal
    return api.Explained(
        verdict="busy" if busy else verdict.outcome.value,
        refusal=refusal.value if refusal else None,
        rule=verdict.rule,
        reasons=[*verdict.reasons, *([busy.reason] if busy else [])],
        forbids=to_rules(found.forbids),
        grants=to_rules(found.grants),
        names=list(found.names),
        lease_s=found.lease_s,
        policy=verdict.policy,
        facts={"device": facts.device, "address": str(facts.address)} | told(facts, request),
        holder=holder,
    )


def to_rules(found: tuple[RuleTrace, ...]) -> list[api.Rule]:
    return [api.Rule(name=r.name, effect=r.effect.value, why=r.why, concerns=r.concerns) for r in found]
