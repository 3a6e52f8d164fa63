"""Property: a yes gives what the question said and nothing more, and it serves the device's next try."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.fixtures.examples import examples
from tests.fixtures.policies import PC, PC6, PC_MAC, TODAY, facts_of, map_request
from upnp_gw.gate.approval_queue import ApprovalQueue
from upnp_gw.gate.build import ManagedPolicy
from upnp_gw.gate.decide import decide, lifetime_s
from upnp_gw.gate.decision import Clamps, Outcome, Verdict
from upnp_gw.gate.digest import basis
from upnp_gw.gate.floor import exact_external
from upnp_gw.gate.load import load_tables
from upnp_gw.gate.operator_rules import OperatorRules
from upnp_gw.gate.portset import includes
from upnp_gw.gate.question import Question
from upnp_gw.gate.schema import Policy
from upnp_gw.gate.terms import remote_access, subject_of, terms_of
from upnp_gw.ledger.filters import combined_peers, granted_prefixes, requested_peers
from upnp_gw.model.mapping import DecisionId, Endpoint, IPAddress, RemotePeers, Transport, Via
from upnp_gw.model.request import MapRequest, PortChoice
from upnp_gw.text.toml import parse_tables

WALL = 1_800_000_000.0
DEVICE = f'version = 1\n[device.pc]\nmac = ["{PC_MAC}"]\n'
WAITING = '[[grant]]\nname = "waits"\nwho = "pc"\napprove = true\nint_ports = ["80-9999"]\n'
POLICIES = (
    'default = "ask"\n',
    WAITING,
    WAITING + 'remote = ["203.0.113.0/24", "2001:db8:9::/48"]\n',
    WAITING + 'ext_ports = [80, "8000-8999"]\nmax_ttl = "5m"\n',
    WAITING + 'ext = "same"\nmax_hold = "5m"\nhours = "06:00-23:00"\n',
    WAITING + 'remote_ports = ["1-100"]\n',
)
HOSTS4 = ("203.0.113.7/32", "203.0.113.8/32", "203.0.113.0/25", "198.51.100.7/32", "0.0.0.0/0")
HOSTS6 = ("2001:db8:9::7/128", "2001:db8:9:1::/64", "2001:db8:1::7/128", "::/0")
ADDRESSES: list[IPAddress] = [PC, PC, PC6]
REMOTE_PORTS = (0, 0, 53, 443)


@st.composite
def requests(draw: st.DrawFn) -> MapRequest:
    address = draw(st.sampled_from(ADDRESSES))
    hosts = [ip_network(text) for text in (HOSTS4 if address == PC else HOSTS6)]
    via = draw(st.sampled_from([Via.IGD1, Via.NATPMP, Via.PCP] if address == PC else [Via.IGD2, Via.PCP]))
    choice = PortChoice.EXACT if via in (Via.IGD1, Via.IGD2) else draw(st.sampled_from(list(PortChoice)))
    port = draw(st.sampled_from([80, 8000, 8001]))
    external = draw(st.sampled_from([80, 8000, 8001, 9000] + [0] * (choice is PortChoice.SUGGESTED)))
    more: dict[str, Any] = {}
    if via is Via.PCP:
        peers = st.builds(RemotePeers, st.sampled_from(hosts), st.sampled_from(REMOTE_PORTS))
        more["filters"] = tuple(draw(st.lists(peers, max_size=3)))
    elif via is not Via.NATPMP:
        remote = draw(st.sampled_from([None, None, *hosts[:-1]]))
        more |= {"remote": remote, "remote_port": draw(st.sampled_from(REMOTE_PORTS)) if address == PC6 else 0}
    request = map_request(
        address,
        external_port=port if address == PC6 else external,
        choice=PortChoice.EXACT if address == PC6 else choice,
        internal=Endpoint(address, port),
        transport=draw(st.sampled_from([Transport.TCP, Transport.TCP, Transport.UDP])),
        lifetime_s=draw(st.sampled_from([1, 60, 3600, 10**8, *([None] if via is Via.IGD1 else [])])),
        via=via,
        **more,
    )
    return request.without_nat() if address == PC and draw(st.booleans()) else request


def decided(policy: Policy, request: MapRequest) -> Verdict:
    return decide(policy, facts_of(request.source.address, wall=WALL), request)


def ask(queue: ApprovalQueue, policy: Policy, request: MapRequest, free: bool) -> Question | None:
    """Treats a request that has to wait as ``upnp_gw.engine.operator_question`` does."""
    verdict = decided(policy, request)
    facts, waiting = facts_of(request.source.address), policy.grant(verdict.rule)
    subject = subject_of(facts, request, verdict.rule)
    if verdict.outcome is not Outcome.ASK or remote_access(subject, waiting) is None:
        return None
    terms = terms_of(policy, facts, request, waiting, lambda _: free)
    return queue.ask(subject, terms, request, basis(policy, subject.rule), DecisionId("d1"), WALL)


def within(inner: RemotePeers | None, outer: tuple[RemotePeers, ...]) -> bool:
    """True if ``inner`` is part of ``outer``. None means anyone, and an empty ``outer`` means everybody."""
    if not outer:
        return True
    if inner is None:
        return any(peers.network.prefixlen == 0 and not peers.port for peers in outer)
    return any(
        peers.port in (0, inner.port) and inner.network.subnet_of(peers.network)  # type: ignore[arg-type]
        for peers in outer
        if isinstance(peers.network, IPv4Network) == isinstance(inner.network, IPv4Network)
    )


def is_in(request: MapRequest, clamps: Clamps, question: Question, before: Policy) -> None:
    """Checks that a yes gives the request no more than its question showed."""
    subject, terms = question.subject, question.terms
    assert (request.transport, request.internal.port) == (subject.transport, subject.port)
    assert f"ip{request.internal.address.version}" == subject.family
    exact = exact_external(request)
    if request.internal.address.version == 4:
        assert includes(terms.external_ports, ((exact, exact),) if exact else clamps.external_ports)
    assert lifetime_s(request, clamps) <= terms.lease_s
    requested = requested_peers(request.remote, request.remote_port) or request.filters
    reach = combined_peers(requested, granted_prefixes(clamps, request))
    assert all(within(peers, subject.remotes) for peers in reach)
    waiting = before.grant(subject.rule)
    if waiting is not None:
        plain = () if waiting.remote is None else waiting.remote.plain
        assert plain is not None
        granted = tuple(RemotePeers(net) for net in plain)
        assert all(within(peers, granted) for peers in reach)
        longest = waiting.max_ttl_s if request.via.datagram else waiting.max_hold_s
        assert longest is None or lifetime_s(request, clamps) <= longest
        assert (
            waiting.ext_ports is None
            or request.internal.address.version == 6
            or includes(waiting.ext_ports, clamps.external_ports)
        )


@pytest.mark.spec("SR-28", "SR-29", "SR-42")
@examples(200)
@given(
    text=st.sampled_from(POLICIES),
    asks=st.lists(requests(), min_size=1, max_size=8),
    later=st.lists(requests(), max_size=8),
    free=st.booleans(),
    data=st.data(),
)
def test_an_approval_allows_what_its_question_showed(
    text: str, asks: list[MapRequest], later: list[MapRequest], free: bool, data: st.DataObject
) -> None:
    raw = parse_tables(text + DEVICE if text.startswith("default") else DEVICE + text, "policy.toml")
    before, queue = load_tables(raw, "policy.toml", TODAY).policy, ApprovalQueue()
    for request in asks:
        ask(queue, before, request, free)
    waiting = queue.all(WALL)
    assume(waiting)
    question = data.draw(st.sampled_from(waiting))
    proposals = OperatorRules(before, WALL)
    assert proposals.still_waits(question)
    (rule,) = proposals.approve(question, None).grants
    written = ManagedPolicy(
        parse_tables(f"version = 1\n{proposals.toml(question)}", "approved.toml"), "approved.toml"
    )
    after = load_tables(raw, "policy.toml", TODAY, written).policy
    for request in (*asks, *later):
        verdict = decided(after, request)
        if verdict.rule == rule["name"] and verdict.clamps is not None:
            is_in(request, verdict.clamps, question, before)
        else:
            assert decided(before, request).outcome == verdict.outcome, "nothing else has changed"
    again = decided(after, question.request)
    assert (again.outcome, again.rule) == (Outcome.ALLOW, rule["name"]), "the next try is served"
    exact = replace(question.request, choice=PortChoice.EXACT)
    for low, high in question.terms.external_ports:
        for port in (low, high):
            assert decided(after, replace(exact, external_port=port)).rule == rule["name"], "each that was shown"
