"""The expected and the actual answer of a ``[[test]]``, in words that can be compared."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

from upnp_gw.gate.decide import lifetime_s
from upnp_gw.gate.decision import Clamps, External, Outcome, PortRanges, Verdict
from upnp_gw.gate.policyfile import printable
from upnp_gw.gate.portset import contains, includes, intersection, subtract
from upnp_gw.gate.remote_match import EVERYWHERE, version_of
from upnp_gw.gate.schema import Case, Policy, Want
from upnp_gw.gate.values import duration_text
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import IPNetwork
from upnp_gw.model.request import MapRequest, PortChoice

MOST_RUNS = 6
"""Runs of remote hosts in a message."""


def given_ports(clamps: Clamps, request: MapRequest, busy: PortRanges) -> PortRanges:
    """The external ports of which the request gets one; empty: none is free. ``busy``: those of other devices."""
    if request.pinhole:
        return clamps.external_ports
    free, port = subtract(clamps.external_ports, busy), request.external_port
    if request.choice is PortChoice.EXACT:
        return intersection(((port, port),), free)
    if port and clamps.external is not External.ANY and contains(free, port):
        return ((port, port),)
    return () if port and clamps.external is External.SAME else free


def remote_hosts(policy: Policy, clamps: Clamps, request: MapRequest) -> AddressRanges:
    """The remote hosts that may connect, of the internal client's address family."""
    hosts = AddressRanges.of([_family(request)] if request.remote is None else [request.remote])
    if clamps.remote and request.remote is None:
        hosts = hosts & AddressRanges.of(clamps.remote)
    for only in clamps.screen.only:
        hosts = hosts & policy.screened[only].ranges
    for never in clamps.screen.never:
        hosts = hosts - policy.screened[never].ranges
    return hosts


def compared(policy: Policy, case: Case, request: MapRequest, verdict: Verdict) -> tuple[str, str]:
    """(the expected answer, the actual one)"""
    clamps, ports = verdict.clamps, None
    outcome = verdict.outcome.value
    if clamps is not None and not (ports := given_ports(clamps, request, case.busy)):
        outcome = Want.BUSY.value
    expected, actual = [case.want.value], [outcome]
    for want, got in _details(policy, case, request, verdict, ports):
        expected.append(want)
        actual.append(got)
    return ", ".join(expected), ", ".join(actual)


def _details(
    policy: Policy, case: Case, request: MapRequest, verdict: Verdict, ports: PortRanges | None
) -> Iterator[tuple[str, str]]:
    clamps = verdict.clamps if verdict.outcome is Outcome.ALLOW else None
    if case.want_rule is not None:
        yield f"rule {printable(case.want_rule)}", f"rule {verdict.rule or 'none'}"
    if case.want_ttl_s is not None:
        got = "none" if clamps is None else duration_text(lifetime_s(request, clamps))
        yield f"ttl {duration_text(case.want_ttl_s)}", f"ttl {got}"
    if case.want_ext is not None:
        wanted = f"ext {_ports(case.want_ext)}"
        yield wanted, wanted if ports and includes(case.want_ext, ports) else f"ext {_ports(ports or ())}"
    if case.want_remote is not None:
        wanted = f"remote {case.want_remote.text}"
        hosts = None if clamps is None else remote_hosts(policy, clamps, request)
        same = hosts is not None and hosts == case.want_remote.within(_family(request))
        yield wanted, wanted if same else f"remote {'none' if hosts is None else _hosts(hosts, request)}"


def _family(request: MapRequest) -> IPNetwork:
    """All addresses of the internal client's family."""
    return EVERYWHERE[version_of(request)]


def _ports(ranges: PortRanges) -> str:
    parts = [str(low) if low == high else f"{low}-{high}" for low, high in ranges[:MOST_RUNS]]
    return " ".join([*parts, *(["..."] if len(ranges) > MOST_RUNS else [])]) or "none"


def _hosts(hosts: AddressRanges, request: MapRequest) -> str:
    """The remote hosts as prefixes, at most ``MOST_RUNS``."""
    version = version_of(request)
    if hosts == AddressRanges.of([_family(request)]):
        return "anyone"
    kind = IPv4Address if version == 4 else IPv6Address
    parts = [
        str(kind(first)) if first == last else f"{kind(first)}-{kind(last)}"
        for first, last in islice(hosts.spans(version), MOST_RUNS)
    ]
    return " ".join([*parts, *(["..."] if hosts.count(version) > MOST_RUNS else [])]) or "nobody"
