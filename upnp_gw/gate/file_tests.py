"""The ``[[test]]`` blocks of a policy file: read with the file, and run before it comes into force.

A test states the sender (``from``), the request (``request``) and the verdict (``want``). The defaults favour the
request: a named device is present with all its facts, has no mappings, asks at noon of a Monday, on the gateway's
first LAN unless the policy names another for it. That LAN has NAT for private addresses, and address lists are up
to date. ``from``, ``at``, ``busy`` and ``stale`` change that. The real network is not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from upnp_gw.gate import floor, values
from upnp_gw.gate.decide import decide, lifetime_s
from upnp_gw.gate.decision import Facts, HeldMappings, PortRanges, Verdict
from upnp_gw.gate.expected import compared
from upnp_gw.gate.hours import Calendar
from upnp_gw.gate.policyfile import CaseFrom, CaseRequest, CaseTable, Ports, to_table
from upnp_gw.gate.read_times import read_moment
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import ANYWHERE, Case, Device, Family, Policy, Want
from upnp_gw.gate.values import KeyPath, if_set, known_names
from upnp_gw.model.device import OPERATOR, device_id
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import DAY_S, Endpoint, IPAddress, Transport, Via
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.request import MapRequest, PortChoice, Source

LAN = "lan"
EPOCH = date(1970, 1, 1).toordinal()
TRANSLATED = floor.LOCAL_IPV4[:5]
"""Addresses that have NAT where a test does not say so. Those for documentation stand for public ones."""


def build_case(raw: object, rules: PolicyRules, calendar: Calendar, place: KeyPath) -> Case:
    """Reads one ``[[test]]`` block. Raises ConfigError."""
    table = to_table(raw, CaseTable, place.where, place.key)
    from_place, request_place = place.at("from"), place.at("request")
    sender = to_table(table.sender, CaseFrom, place.where, from_place.key)
    request = to_table(table.request, CaseRequest, place.where, request_place.key)
    if sender.device is not None and sender.device not in rules.devices:
        raise from_place.at("device").wrong(sender.device, known_names("device", rules.devices), example=False)
    if (sender.device, sender.ip, sender.mac, sender.zone) == (None, None, None, None):
        raise from_place.empty(": nobody asks; accepted: device, ip, mac or zone")
    address = if_set(sender.ip, values.read_address, from_place.at("ip"))
    target = if_set(request.target, values.read_address, request_place.at("for"))
    want = values.read_choice(table.want, Want, place.at("want"))
    for key, value in (("ttl", table.ttl), ("ext", table.ext), ("remote", table.remote)):
        if value is not None and want is not Want.ALLOW:
            raise place.at(key).fail('accepted only beside want = "allow"')
    moment = read_moment(table.at, calendar, place.at("at"))
    return Case(
        name=table.name,
        key=place.key,
        device=sender.device,
        address=address,
        mac=if_set(sender.mac, values.read_mac, from_place.at("mac")),
        lan=if_set(sender.lan, values.read_lan, from_place.at("lan")),
        zone=rules.zone(sender.zone, from_place.at("zone")),
        nat=sender.nat,
        via=values.read_choice(sender.via, Via, from_place.at("via")),
        transport=values.read_choice(request.proto, Transport, request_place.at("proto")),
        family=_family(request.family, target or address, request_place.at("family")),
        int_port=values.read_port(request.int_port, request_place.at("int")),
        ext_port=if_set(request.ext, values.read_port, request_place.at("ext")),
        target=target,
        remote=if_set(request.remote, values.read_prefix, request_place.at("remote")),
        remote_port=if_set(request.remote_port, values.read_port, request_place.at("remote_port")) or 0,
        # ttl = 0 over IGD: without end
        ttl_s=values.read_optional_duration_s(request.ttl or None, request_place.at("ttl")),
        minute_of_day=moment.minute,
        today=moment.today,
        dated=moment.dated,
        holds=values.read_number(sender.holds, 0, 65535, from_place.at("holds")),
        frozen=sender.frozen,
        busy=if_set(table.busy, values.read_ports, place.at("busy")) or (),
        stale=rules.remote.read_stale(table.stale, place.at("stale")),
        want=want,
        want_ttl_s=values.read_optional_duration_s(table.ttl, place.at("ttl")),
        want_rule=table.rule,
        want_ext=_ports(table.ext, place.at("ext")),
        want_remote=rules.remote.read(table.remote, place.at("remote")),
    )


def _ports(value: int | str | Ports | None, place: KeyPath) -> PortRanges | None:
    """One port or range, or a list of them; None: the key is not set."""
    if value is None or isinstance(value, list):
        return if_set(value, values.read_ports, place)
    return values.read_ports([value], place)


def _family(text: str | None, address: IPAddress | None, place: KeyPath) -> Family:
    """The family that the test names, else that of the address, else IPv4."""
    of_address = None if address is None else Family(f"ip{address.version}")
    if text is None:
        return of_address or Family.IP4
    family = values.read_choice(text, Family, place)
    if of_address not in (None, family):
        raise place.wrong(text, f'"{of_address}", as the address is', example=False)
    return family


def mac_or_device(text: str, policy: Policy, where: str) -> str:
    """Reads a MAC address. Raises ConfigError; the message also lists the devices of the policy."""
    try:
        return values.read_mac(text, KeyPath(where))
    except ConfigError:
        raise KeyPath(where).wrong(
            text, f"a MAC address, or {known_names('device', policy.devices)}", example=False
        ) from None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of one test."""

    case: Case
    wanted: str
    got: str
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True if the result is as wanted."""
        return self.wanted == self.got

    def __str__(self) -> str:
        trace = "; ".join(self.reasons)
        return f"failed: wanted {self.wanted}; got {self.got} ({trace})"


def check_cases(policy: Policy, where: str) -> None:
    """Runs the tests of the policy. Raises ConfigError at the first that fails."""
    for result in case_results(policy, where):
        if not result.passed:
            raise ConfigError(where, result.case.key, str(result))


def case_results(policy: Policy, where: str) -> Iterator[CaseResult]:
    """Runs every test of the policy. Raises ConfigError as ``facts_and_request``."""
    for case in policy.cases:
        facts, request = facts_and_request(policy, case, where)
        verdict = decide(policy, facts, request)
        expected, actual = compared(policy, case, request, verdict)
        yield CaseResult(case, expected, actual, verdict.reasons)


def case_verdict(policy: Policy, case: Case, where: str) -> tuple[Verdict, int | None]:
    """(verdict, seconds of the lease or None)"""
    facts, request = facts_and_request(policy, case, where)
    verdict = decide(policy, facts, request)
    return verdict, None if verdict.clamps is None else lifetime_s(request, verdict.clamps)


def facts_and_request(policy: Policy, case: Case, where: str) -> tuple[Facts, MapRequest]:
    """The arguments of ``decide`` for a test. Raises ConfigError where no address is free for its sender."""
    hosts = _hosts(policy, case, where)
    return _facts(policy, case, hosts), _request(case, hosts)


@dataclass(frozen=True, slots=True)
class _Hosts:
    """The sender of a test and the internal client of its request."""

    device: Device | None
    """The sender, where the test names it."""
    device_id: str
    mac: str | None
    address: IPAddress
    lan: str
    operator: bool
    target: IPAddress
    nat: bool
    """True where the LAN has NAT for the internal client."""

    @property
    def own(self) -> bool:
        """True where the sender maps a port to itself."""
        return self.target == self.address


def _hosts(policy: Policy, case: Case, where: str) -> _Hosts:
    device = None if case.device is None else policy.devices[case.device]
    mac = case.mac or _mac(device)
    address = case.address or _address(policy, case, where)
    lan = case.lan or _lan(device)
    return _Hosts(
        device,
        device_id(mac, "" if lan == LAN else lan) if mac else str(address),
        mac,
        address,
        lan,
        case.via is Via.OPERATOR,
        target := case.target or address,
        any(target in net for net in TRANSLATED) if case.nat is None else case.nat,
    )


def _facts(policy: Policy, case: Case, hosts: _Hosts) -> Facts:
    return Facts(
        device=OPERATOR if hosts.operator else hosts.device_id,
        mac=hosts.mac,
        address=hosts.address,
        target_device=hosts.device_id if hosts.own else str(hosts.target),
        target_mac=hosts.mac if hosts.own else None,
        lan="" if hosts.operator else hosts.lan,
        target_lan=hosts.lan if hosts.own else "",
        main_lan=LAN,
        network=_network(hosts),
        gateway_ports=GatewayPorts(),
        minute_of_day=case.minute_of_day,
        today=case.today,
        wall=_wall(case),
        frozen=case.frozen,
        stale_sets=case.stale,
        held=HeldMappings(case.holds, case.holds, {grant.name: case.holds for grant in policy.grants}),
        dhcp_name=hosts.device.dhcp_name if hosts.device is not None else None,
        lease_agrees=hosts.device is not None,
    )


def _wall(case: Case) -> float:
    """Wall-clock seconds for ``until``, as if local time were UTC; 0 without a date, so that no rule has ended."""
    return 0.0 if not case.dated else (case.today - EPOCH) * DAY_S + case.minute_of_day * 60.0


def _request(case: Case, hosts: _Hosts) -> MapRequest:
    external_port, choice = _external(case, hosts)
    request = MapRequest(
        via=case.via,
        source=Source(hosts.address, "" if hosts.operator else hosts.lan),
        transport=case.transport,
        internal=Endpoint(hosts.target, case.int_port),
        external_port=external_port,
        choice=choice,
        lifetime_s=case.ttl_s,
        remote=case.remote,
        remote_port=case.remote_port,
    )
    return request if hosts.nat or request.pinhole else request.without_nat()


def _external(case: Case, hosts: _Hosts) -> tuple[int, PortChoice]:
    """The external port that the protocol of the test would ask for, 0: any, and whether it insists on it."""
    if hosts.target.version == 6:
        return case.int_port, PortChoice.EXACT
    if case.via in (Via.NATPMP, Via.PCP) or (hosts.operator and case.ext_port is None):
        return case.ext_port or 0, PortChoice.SUGGESTED
    return case.ext_port or case.int_port, PortChoice.EXACT


def _mac(device: Device | None) -> str | None:
    return min(device.macs) if device is not None and device.macs else None


def _lan(device: Device | None) -> str:
    """The LAN of a device for which the test names none: one that the policy names for it, or the first."""
    named = sorted(device.lans - {ANYWHERE}) if device is not None and ANYWHERE not in device.lans else []
    return named[0] if named else LAN


def _address(policy: Policy, case: Case, where: str) -> IPAddress:
    """An address for a sender without one: its device's, else one in its zone, else one that the policy does not
    name. Raises ConfigError."""
    version = 6 if case.family is Family.IP6 else 4
    if case.device is not None:
        own = [a for a in policy.devices[case.device].addresses if a.version == version]
        if own:
            return min(own, key=int)
    for address in _candidates(policy, case.zone, version):
        if address not in policy.by_address:
            return address
    raise ConfigError(where, f"{case.key}.from", f"no free IPv{version} address for this test; add ip")


def _candidates(policy: Policy, zone: str | None, version: int) -> Iterator[IPAddress]:
    """Hosts of the zone, else hosts outside every zone."""
    if zone is not None:
        return (_host(net) for net in policy.zones[zone].prefixes if net.version == version)
    zones = policy.zones.values()
    return (address for address in _plain_addresses(version) if not any(zone.has(address) for zone in zones))


def _plain_addresses(version: int) -> Iterator[IPAddress]:
    """Addresses in many different prefixes."""
    for subnet in range(256):
        if version == 6:
            yield IPv6Address(f"2001:db8:ffff:{subnet:x}::77")
        else:
            yield IPv4Address(f"192.168.{255 - subnet}.77")
            yield IPv4Address(f"10.{subnet}.255.77")


def _host(net: IPv4Network | IPv6Network) -> IPAddress:
    """A host in this prefix that is neither its network nor its broadcast address."""
    return net.network_address + min(77, net.num_addresses // 2)


def _network(hosts: _Hosts) -> Network:
    """A gateway whose LAN holds these hosts."""
    around = (ip_network(f"{host}/{host.max_prefixlen}") for host in (hosts.address, hosts.target))
    without_nat = frozenset() if hosts.nat else frozenset({LAN})
    return Network(Link("wan", 1, True), (Link(LAN, 2, True),), routed=tuple(around), without_nat=without_nat)
