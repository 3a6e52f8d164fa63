"""Reads the forbids and grants of the policy file, and resolves the names in them."""

from collections.abc import Mapping

from upnp_gw.gate import values
from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.gate.policyfile import ForbidTable, GrantTable, Names, Ports, to_table
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
from upnp_gw.gate.values import KeyPath, if_set
from upnp_gw.model.mapping import IPNetwork, Transport

HOW_TO_NAME = {
    "device": '[device.ps5] and mac = ["ac:89:95:00:00:01"]',
    "group": '[group] and consoles = ["ps5"]',
    "zone": '[zone] and guest = ["192.168.20.0/24"]',
}


def known_names(kind: str, names: Mapping[str, object]) -> str:
    """The existing names for an error message, at most 12; if there are none, how to add one."""
    if not names:
        return f"a {kind} of this file, which has none yet: add {HOW_TO_NAME[kind]}"
    return f"a {kind} of this file: {', '.join(sorted(names)[:12])}"


class PolicyRules:
    """Reads forbids and grants. All rules need different names: a verdict has only the name."""

    def __init__(
        self,
        devices: Mapping[str, Device],
        groups: Mapping[str, frozenset[str]],
        zones: Mapping[str, Zone],
        where: str,
    ) -> None:
        """``where``: the operator's file. A grant of approved.toml may name a device that was removed."""
        self.where = where
        self.devices = devices
        self.groups = groups
        self.zones = zones
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
                    raise entry_place.wrong(text, known_names("group", self.groups), example=False)
                devices |= self.groups[text[1:]]
            else:
                values.read_name(text, entry_place)
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
        return Forbid(
            name=self.name(table.name, "forbid", place),
            devices=None if table.who is None else self.who(table.who, place.at("who"), known_only=True),
            zone=self.zone(table.zone, place.at("zone")),
            families=families,
            transports=transports,
            int_ports=if_set(table.int_ports, values.read_ports, place.at("int_ports")),
            ext_ports=if_set(table.ext_ports, values.read_ports, place.at("ext_ports")),
            until=if_set(table.until, values.read_time, place.at("until")),
        )

    def grant(self, raw: object, place: KeyPath) -> Grant:
        """Reads a ``[[grant]]``. Raises ConfigError."""
        table = to_table(raw, GrantTable, place.where, place.key)
        if table.who is None and table.zone is None:
            raise place.at("who").fail('missing; accepted: a device, "@group", a list, "*", or zone = "..."')
        families, transports = self.matching(table.family, table.proto, place)
        targets = _prefixes(table.targets, place.at("for"), "the requester alone")
        remote = _prefixes(table.remote, place.at("remote"), "anyone")
        if table.family is None:
            families = _families_of(targets) & _families_of(remote) or families
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
            hours=if_set(table.hours, values.read_hours, place.at("hours")),
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
