"""Reads the forbids and grants of the policy file, and resolves the names in them."""

from collections.abc import Mapping
from typing import Any

from upnp_gw.gate import values
from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.gate.policyfile import ForbidTable, GrantTable, Names, Ports, ZonesTable, to_table
from upnp_gw.gate.read_remote import RemoteReader
from upnp_gw.gate.read_times import read_hours
from upnp_gw.gate.remote import AddressSet, RemoteHosts
from upnp_gw.gate.schema import (
    ANYONE,
    BOTH_FAMILIES,
    BOTH_TRANSPORTS,
    RESERVED_RULES,
    Device,
    Family,
    Forbid,
    Grant,
    Zone,
)
from upnp_gw.gate.values import KeyPath, if_set, known_names
from upnp_gw.model.mapping import IPNetwork, Transport, Via


class PolicyRules:
    """Reads forbids and grants. All rules need different names: a verdict has only the name."""

    def __init__(
        self,
        devices: Mapping[str, Device],
        groups: Mapping[str, frozenset[str]],
        zones: Mapping[str, Zone],
        sets: Mapping[str, AddressSet],
        where: str,
    ) -> None:
        """``where``: the operator's file. A grant of approved.toml may name a device that was removed."""
        self.where = where
        self.devices = devices
        self.groups = groups
        self.zones = zones
        self.remote = RemoteReader(sets, where)
        self.taken: dict[str, str] = {}

    def name(self, text: str, kind: str, place: KeyPath) -> str:
        """A free name for a rule. ``kind``: ``forbid`` or ``grant``."""
        values.read_name(text, place.at("name"))
        if text in RESERVED_RULES:
            raise place.at("name").fail(f"{text!r} is a rule of the gateway itself; use another name")
        if text in self.taken:
            raise place.at("name").fail(f"{self.taken[text]} has the name {text!r} already; use another name")
        self.taken[text] = f"a {kind} of {place.where}"
        return text

    def zone(self, text: str | None, place: KeyPath) -> str | None:
        """The name of a zone of the policy; None: not set. Raises ConfigError."""
        if text is not None and text not in self.zones:
            raise place.wrong(text, known_names("zone", self.zones), example=False)
        return text

    def who(self, texts: Names, place: KeyPath, known_only: bool) -> frozenset[str] | None:
        """The device names, with groups resolved; None: ``*``. Without ``known_only`` an unknown name is kept."""
        names = values.as_list(texts)
        if not names:
            raise place.empty('; accepted: a device, "@group", a list of these, or "*" for any device')
        if ANYONE in names:
            return None
        devices: set[str] = set()
        for index, text in enumerate(names):
            entry_place = place if isinstance(texts, str) else place.at(index)
            if text.startswith("@"):
                if text[1:] not in self.groups:
                    raise entry_place.wrong(text, known_names("group", self.groups, "@"), example=False)
                devices |= self.groups[text[1:]]
            else:
                values.read_name(text, entry_place)
                if known_only and text not in self.devices and text in self.groups:
                    raise entry_place.wrong(text, f'"@{text}" for the group of this name', example=False)
                if known_only and text not in self.devices:
                    raise entry_place.wrong(text, known_names("device", self.devices), example=False)
                devices.add(text)
        return frozenset(devices)

    def matching(
        self, family: Names | None, proto: Names | None, place: KeyPath
    ) -> tuple[frozenset[Family], frozenset[Transport]]:
        """The address families and transports of a rule; both where a key is not set. Raises ConfigError."""
        return (
            BOTH_FAMILIES if family is None else values.read_choices(family, Family, place.at("family")),
            BOTH_TRANSPORTS if proto is None else values.read_choices(proto, Transport, place.at("proto")),
        )

    def forbid(self, raw: object, place: KeyPath) -> Forbid:
        """Reads a ``[[forbid]]``. Raises ConfigError."""
        table = to_table(raw, ForbidTable, place.where, place.key)
        families, transports = self.matching(table.family, table.proto, place)
        zone, zone_from, zone_for = self._zones(table.zone, place.at("zone"))
        return Forbid(
            name=self.name(table.name, "forbid", place),
            devices=None if table.who is None else self.who(table.who, place.at("who"), known_only=True),
            zone=zone,
            zone_from=zone_from,
            zone_for=zone_for,
            families=families,
            transports=transports,
            int_ports=if_set(table.int_ports, values.read_ports, place.at("int_ports")),
            ext_ports=if_set(table.ext_ports, values.read_ports, place.at("ext_ports")),
            vias=None if table.via is None else _vias(table.via, place.at("via")),
            remote=self.remote.read(table.remote, place.at("remote")),
            hours=None if table.hours is None else read_hours(table.hours, place.at("hours")),
            until=if_set(table.until, values.read_time, place.at("until")),
        )

    def _zones(
        self, zone: str | dict[str, Any] | None, place: KeyPath
    ) -> tuple[str | None, str | None, str | None]:
        """(zone of either end, of the requester, of the internal client)"""
        if not isinstance(zone, dict):
            return self.zone(zone, place), None, None
        ends = to_table(zone, ZonesTable, place.where, place.key)
        if ends.requester is None and ends.target is None:
            raise place.empty("; leave it out for any zone, or name one")
        return None, self.zone(ends.requester, place.at("from")), self.zone(ends.target, place.at("for"))

    def grant(self, raw: object, place: KeyPath) -> Grant:
        """Reads a ``[[grant]]``. Raises ConfigError."""
        table = to_table(raw, GrantTable, place.where, place.key)
        if table.who is None and table.zone is None:
            raise place.at("who").fail('missing; accepted: a device, "@group", a list, "*", or zone = "..."')
        families, transports = self.matching(table.family, table.proto, place)
        targets = _prefixes(table.targets, place.at("for"), "the requester alone")
        remote = self.remote.read(table.remote, place.at("remote"))
        if table.family is None:
            families = _families_of(targets) & _families_of_remote(remote) or families
        external, ext_ports = _external(table.ext, table.ext_ports, place)
        defaults = Grant("", None)
        written = place.where == self.where
        devices = None if table.who is None else self.who(table.who, place.at("who"), known_only=written)
        return Grant(
            name=self.name(table.name, "grant", place),
            devices=devices,
            zone=self.zone(table.zone, place.at("zone")),
            targets=targets,
            families=families,
            transports=transports,
            int_ports=if_set(table.int_ports, values.read_ports, place.at("int_ports")) or defaults.int_ports,
            ext_ports=ext_ports,
            external=external,
            max_mappings=if_set(table.max_mappings, _count, place.at("max_mappings")),
            max_ports_per_day=if_set(table.max_ports_per_day, _day_count, place.at("max_ports_per_day")),
            max_ttl_s=values.read_optional_duration_s(table.max_ttl, place.at("max_ttl")),
            max_hold_s=values.read_optional_duration_s(table.max_hold, place.at("max_hold")),
            remote=remote,
            remote_ports=if_set(table.remote_ports, values.read_ports, place.at("remote_ports")),
            hours=None if table.hours is None else read_hours(table.hours, place.at("hours")),
            approve=table.approve,
            approve_for_s=values.read_optional_duration_s(table.approve_for, place.at("approve_for")),
            until=if_set(table.until, values.read_time, place.at("until")),
            owner=table.owner,
            reason=table.reason,
            review_by=table.review_by,
        )


def _count(value: int, place: KeyPath) -> int:
    return values.read_number(value, 1, 65535, place)


def _day_count(value: int, place: KeyPath) -> int:
    return values.read_number(value, 1, 1024, place)


def _prefixes(texts: list[str] | None, place: KeyPath, without: str) -> tuple[IPNetwork, ...]:
    """``without``: the meaning of a missing key. An empty list is an error."""
    if texts == []:
        raise place.empty(f"; leave it out for {without}, or name prefixes")
    return tuple(values.read_prefix(text, place.at(i)) for i, text in enumerate(texts or ()))


def _families_of(prefixes: tuple[IPNetwork, ...]) -> frozenset[Family]:
    """The address families of the prefixes; both where there are none."""
    return frozenset(Family(f"ip{net.version}") for net in prefixes) or BOTH_FAMILIES


def _families_of_remote(remote: RemoteHosts | None) -> frozenset[Family]:
    """Those of ``only``; both where it names a list, whose addresses may change."""
    only = None if remote is None else remote.only
    return BOTH_FAMILIES if only is None or only.sets else _families_of(only.prefixes)


def _vias(texts: Names, place: KeyPath) -> frozenset[Via]:
    """Protocols of control points. No forbid denies a request of the operator."""
    if not (entries := values.as_list(texts)):
        raise place.empty(f", so it would match nothing; accepted: {values.quoted_choices(VIAS)}")
    spots = [place if isinstance(texts, str) else place.at(index) for index in range(len(entries))]
    return frozenset(
        values.read_choice(text, Via, at, Via.OPERATOR) for text, at in zip(entries, spots, strict=True)
    )


VIAS = [via.value for via in Via if via is not Via.OPERATOR]


def _external(ext: str | None, ext_ports: Ports | None, place: KeyPath) -> tuple[External, PortRanges | None]:
    """``ext`` says how a port is chosen, or is a range of ports itself."""
    listed = if_set(ext_ports, values.read_ports, place.at("ext_ports"))
    if ext is None:
        return External.SAME_OR_ANY, listed
    if ext in {choice.value for choice in External}:
        return External(ext), listed
    if not ext[:1].isdigit():
        raise place.at("ext").wrong(ext)
    if listed is not None:
        raise place.at("ext").fail("a range, and ext_ports is set too; accepted: one of the two")
    return External.ANY, values.read_ports([ext], place.at("ext"))
