"""Builds the typed policy from the tables of a policy file: reads every value and resolves every name.

An unknown name is an error. There is one exception: a grant that a command wrote to approved.toml may name a device
that the operator has since removed from the policy. Such a grant matches no device, and lint warns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from upnp_gw.gate import values
from upnp_gw.gate.address_lists import NO_LISTS, AddressLists, read_set
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.file_tests import build_case
from upnp_gw.gate.hours import Calendar
from upnp_gw.gate.invariant import Invariant, InvariantKind
from upnp_gw.gate.policyfile import (
    ApprovedTable,
    DeviceTable,
    LimitsTable,
    MemberList,
    Names,
    TopTable,
    printable,
    to_table,
)
from upnp_gw.gate.read_invariants import read_invariant
from upnp_gw.gate.read_times import read_holidays
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import ELEMENTS_EACH, Assurance, Case, Device, Limits, Mode, OnIncident, Policy, Zone
from upnp_gw.gate.values import KeyPath, known_names

VERSION = 1


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """The parsed approved.toml: what the operator's commands added to a policy."""

    raw: Mapping[str, object]
    where: str
    ended: frozenset[str] = frozenset()
    """Names of its rules that have expired."""


def build_policy(
    raw: Mapping[str, object],
    where: str,
    approved: ManagedPolicy | None = None,
    lists: AddressLists = NO_LISTS,
) -> Policy:
    """The policy of a parsed TOML file, not yet indexed, linted or tested. Raises ConfigError.

    ``approved`` adds devices, grants and forbids; all of them share one space of names with the file's own.
    ``lists``: the files of its ``[set]`` tables.
    """
    top, root = to_table(raw, TopTable, where, ""), KeyPath(where)
    sources: list[tuple[TopTable | ApprovedTable, KeyPath, frozenset[str]]] = [(top, root, frozenset())]
    if approved is not None:
        added = to_table(approved.raw, ApprovedTable, approved.where, "")
        sources.append((added, KeyPath(approved.where), approved.ended))
    devices: dict[str, Device] = {}
    for table, place, _ in sources:
        if table.version != VERSION:
            raise place.at("version").wrong(table.version, str(VERSION))
        for name, content in table.device.items():
            device = _device(name, content, place.at("device").at(name))
            if devices.get(name, device) != device:
                raise place.at("device").at(name).fail(f"{where} has another device of this name; use another name")
            devices[name] = device
    groups = {
        name: _group(name, content, devices, root.at("group").at(name)) for name, content in top.group.items()
    }
    zones = {name: _zone(name, content, root.at("zone").at(name)) for name, content in top.zone.items()}
    sets = {name: read_set(name, content, root.at("set").at(name), lists) for name, content in top.set.items()}
    calendar = read_holidays(top.holidays, root.at("holidays"))
    rules = PolicyRules(devices, groups, zones, sets, where)
    forbids = [
        rules.forbid(raw, spot)
        for table, place, ended in sources
        for raw, spot in _live(table.forbid, place.at("forbid"), ended)
    ]
    grants = [
        rules.grant(raw, spot)
        for table, place, ended in sources
        for raw, spot in _live(table.grant, place.at("grant"), ended)
    ]
    return Policy(
        default=values.read_choice(top.default, Outcome, root.at("default"), Outcome.ALLOW),
        mode=values.read_choice(top.mode, Mode, root.at("mode")),
        limits=_limits(top.limits, root.at("limits")),
        devices=devices,
        groups=groups,
        zones=zones,
        forbids=tuple(sorted(forbids, key=lambda forbid: forbid.name)),
        grants=tuple(sorted(grants, key=lambda grant: grant.rank)),
        sets=sets,
        calendar=calendar,
        cases=_cases(top.test, rules, calendar, root.at("test")),
        invariants=tuple(_invariants(top, rules, root)),
    )


def _cases(
    tables: list[dict[str, Any]], rules: PolicyRules, calendar: Calendar, place: KeyPath
) -> tuple[Case, ...]:
    return tuple(build_case(raw, rules, calendar, place.at(index)) for index, raw in enumerate(tables))


def _invariants(top: TopTable, rules: PolicyRules, root: KeyPath) -> Iterator[Invariant]:
    taken: dict[str, str] = {}
    for kind, tables in ((InvariantKind.NEVER, top.never), (InvariantKind.ALWAYS, top.always)):
        for index, raw in enumerate(tables):
            place = root.at(kind.value).at(index)
            found = read_invariant(raw, kind, rules, place)
            if found.name in taken:
                problem = f"another {taken[found.name]} has the name {printable(found.name)!r}; use another name"
                raise place.at("name").fail(problem)
            taken[found.name] = kind.value
            yield found


def _live(rules: list[dict[str, Any]], place: KeyPath, ended: frozenset[str]) -> Iterator[tuple[object, KeyPath]]:
    """Each rule that has not expired, and its place in the file."""
    for index, rule in enumerate(rules):
        name = rule.get("name")
        if not (isinstance(name, str) and name in ended):
            yield rule, place.at(index)


def _limits(raw: object, place: KeyPath) -> Limits:
    table = to_table(raw, LimitsTable, place.where, place.key)
    defaults = Limits()

    def counted(key: str, default: int, high: int) -> int:
        value = getattr(table, key)
        return default if value is None else values.read_number(value, 1, high, place.at(key))

    def lasting(key: str, default: int) -> int:
        value = getattr(table, key)
        return default if value is None else values.read_duration_s(value, place.at(key))

    action = table.on_incident
    per_device = counted("per_device", defaults.per_device, 65535)
    return Limits(
        total_mappings=counted("total_mappings", defaults.total_mappings, 65535),
        per_device=per_device,
        elements_per_device=counted("elements_per_device", ELEMENTS_EACH * per_device, 65535),
        requests_per_minute=counted("requests_per_minute", defaults.requests_per_minute, 6000),
        max_ttl_s=lasting("max_ttl", defaults.max_ttl_s),
        max_hold_s=lasting("max_hold", defaults.max_hold_s),
        incident_after=counted("incident_after", defaults.incident_after, 1000),
        on_incident=defaults.on_incident
        if action is None
        else values.read_choice(action, OnIncident, place.at("on_incident")),
    )


def _device(name: str, raw: object, place: KeyPath) -> Device:
    values.read_name(name, place)
    table = to_table(raw, DeviceTable, place.where, place.key)
    for key, entries in (("mac", table.mac), ("ip", table.ip)):
        if entries == []:
            raise place.at(key).empty(f", which would match every {key}; leave it out or name one")
    macs = [values.read_mac(m, place.at("mac").at(i)) for i, m in enumerate(values.as_list(table.mac or []))]
    addresses = [values.read_address(a, place.at("ip").at(i)) for i, a in enumerate(values.as_list(table.ip or []))]
    if not macs and not addresses:
        raise place.fail(
            'nothing identifies it; accepted: mac = ["ac:89:95:00:00:01"] or ip = ["192.168.1.40"]; dhcp_name only'
            " beside them"
        )
    if table.dhcp_name == "":
        raise place.at("dhcp_name").empty("; leave it out or name the host name of its DHCP lease")
    assure = _assurance(table.assure, bool(macs), place.at("assure"))
    return Device(
        name, frozenset(macs), frozenset(addresses), _lans(table.lan, place.at("lan")), table.dhcp_name, assure
    )


def _assurance(text: str | None, has_mac: bool, place: KeyPath) -> Assurance:
    """Left out: by MAC address where the device has one, else by address."""
    if text is None:
        return Assurance.MAC if has_mac else Assurance.IP
    assure = values.read_choice(text, Assurance, place)
    if assure is not Assurance.IP and not has_mac:
        raise place.fail(f'"{assure}" needs mac, such as mac = ["ac:89:95:00:00:01"]; accepted without it: "ip"')
    return assure


def _lans(texts: Names | None, place: KeyPath) -> frozenset[str]:
    """Empty: the key is left out."""
    if texts is None:
        return frozenset()
    names = [values.read_lan(text, place.at(i)) for i, text in enumerate(values.as_list(texts))]
    if not names:
        raise place.empty('; leave it out for the first LAN of the gateway, or name LANs, or "*"')
    return frozenset(names)


def _group(name: str, raw: object, devices: Mapping[str, Device], place: KeyPath) -> frozenset[str]:
    values.read_name(name, place)
    members = to_table({"members": raw}, MemberList, place.where, place.key).members
    for index, member in enumerate(members):
        if member not in devices:
            raise place.at(index).wrong(member, known_names("device", devices), example=False)
    return frozenset(members)


def _zone(name: str, raw: object, place: KeyPath) -> Zone:
    values.read_name(name, place)
    members = to_table({"members": raw}, MemberList, place.where, place.key).members
    if not members:
        raise place.empty("; accepted: addresses or prefixes")
    return Zone(name, tuple(values.read_prefix(text, place.at(i)) for i, text in enumerate(members)))
