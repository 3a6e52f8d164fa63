"""Reads ``[[never]]`` and ``[[always]]`` of the policy file. What is left out means any."""

from typing import Any

import msgspec

from upnp_gw.gate import values
from upnp_gw.gate.decision import PortRanges
from upnp_gw.gate.invariant import Bounds, Invariant, InvariantKind, Requested, Sender
from upnp_gw.gate.policyfile import Duration, Names, Ports, Remote, TomlTable, to_table
from upnp_gw.gate.read_times import read_hours
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import Family
from upnp_gw.gate.values import KeyPath, if_set
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import IPNetwork, Transport, Via

SomePorts = int | str | Ports


class NeverTable(TomlTable):
    """``[[never]]``."""

    name: str
    sender: dict[str, Any] = msgspec.field(default={}, name="from")
    request: dict[str, Any] = {}
    unless: dict[str, Any] | None = None
    owner: str = ""
    reason: str = ""


class AlwaysTable(TomlTable):
    """``[[always]]``."""

    name: str
    sender: dict[str, Any] = msgspec.field(default={}, name="from")
    request: dict[str, Any] = {}
    owner: str = ""
    reason: str = ""


class SenderTable(TomlTable):
    """``from`` of both."""

    device: Names | None = None
    excluded: Names | None = msgspec.field(default=None, name="not")
    zone: str | None = None
    ip: Names | None = None
    mac: str | None = None
    lan: str | None = None
    via: Names | None = None


class RequestedTable(TomlTable):
    """``request`` of both."""

    proto: Names | None = None
    int_ports: SomePorts | None = msgspec.field(default=None, name="int")
    ext: SomePorts | None = None
    family: Names | None = None
    targets: Names | None = msgspec.field(default=None, name="for")
    remote: str | Remote | None = None
    at: Names | None = None


class BoundsTable(TomlTable):
    """``unless`` of a ``[[never]]``."""

    ext: SomePorts | None = None
    remote: str | Remote | None = None
    lease: Duration | None = None


def read_invariant(raw: object, kind: InvariantKind, rules: PolicyRules, place: KeyPath) -> Invariant:
    """One ``[[never]]`` or ``[[always]]``. Raises ConfigError."""
    shape: type[NeverTable | AlwaysTable] = NeverTable if kind is InvariantKind.NEVER else AlwaysTable
    table = to_table(raw, shape, place.where, place.key)
    if not table.name.strip():
        raise place.at("name").empty("; accepted: a text, its name in messages")
    unless = table.unless if isinstance(table, NeverTable) else None
    return Invariant(
        kind,
        table.name,
        place.key,
        read_sender(table.sender, rules, place.at("from")),
        read_requested(table.request, rules, place.at("request")),
        None if unless is None else _bounds(unless, rules, place.at("unless")),
    )


def read_sender(raw: object, rules: PolicyRules, place: KeyPath) -> Sender:
    """``from``. Raises ConfigError."""
    table = to_table(raw, SenderTable, place.where, place.key)
    excluded = None if table.excluded is None else rules.who(table.excluded, place.at("not"), known_only=True)
    if table.excluded is not None and excluded is None:
        raise place.at("not").wrong("*", 'a device, "@group", or a list of these', example=False)
    return Sender(
        devices=None if table.device is None else rules.who(table.device, place.at("device"), known_only=True),
        excluded=excluded or frozenset(),
        zone=rules.zone(table.zone, place.at("zone")),
        addresses=_prefixes(table.ip, place.at("ip")),
        mac=if_set(table.mac, values.read_mac, place.at("mac")),
        lan=if_set(table.lan, values.read_lan, place.at("lan")),
        vias=_vias(table.via, place.at("via")),
    )


def read_requested(raw: object, rules: PolicyRules, place: KeyPath) -> Requested:
    """``request``. Raises ConfigError."""
    table = to_table(raw, RequestedTable, place.where, place.key)
    families = (
        frozenset() if table.family is None else values.read_choices(table.family, Family, place.at("family"))
    )
    return Requested(
        transports=None if table.proto is None else values.read_choices(table.proto, Transport, place.at("proto")),
        versions=frozenset(4 if family is Family.IP4 else 6 for family in families),
        int_ports=_some_ports(table.int_ports, place.at("int")),
        ext_ports=_some_ports(table.ext, place.at("ext")),
        targets=_prefixes(table.targets, place.at("for")),
        remote=rules.remote.read(table.remote, place.at("remote")),
        hours=None if table.at is None else read_hours(table.at, place.at("at")),
    )


def _bounds(raw: object, rules: PolicyRules, place: KeyPath) -> Bounds:
    table = to_table(raw, BoundsTable, place.where, place.key)
    if (table.ext, table.remote, table.lease) == (None, None, None):
        raise place.empty(": no mapping is within it; accepted: ext, remote or lease")
    return Bounds(
        ext_ports=_some_ports(table.ext, place.at("ext")),
        remote=rules.remote.read(table.remote, place.at("remote")),
        lease_s=values.read_optional_duration_s(table.lease, place.at("lease")),
    )


def _some_ports(value: SomePorts | None, place: KeyPath) -> PortRanges | None:
    """``22``, ``"1024-3999"`` or a list of both; None: not set. Raises ConfigError."""
    if value is None or isinstance(value, list):
        return if_set(value, values.read_ports, place)
    try:
        return values.read_ports([value], place)
    except ConfigError:
        raise place.wrong(value) from None


def _prefixes(texts: Names | None, place: KeyPath) -> tuple[IPNetwork, ...]:
    """Empty: not set. Raises ConfigError."""
    if texts == []:
        raise place.empty("; leave it out for any, or name prefixes")
    if isinstance(texts, str):
        return (values.read_prefix(texts, place),)
    return tuple(values.read_prefix(text, place.at(index)) for index, text in enumerate(texts or ()))


def _vias(texts: Names | None, place: KeyPath) -> frozenset[Via] | None:
    """None: not set. Raises ConfigError."""
    if texts is None:
        return None
    names = values.as_list(texts)
    if not names:
        raise place.empty("; leave it out for any, or name protocols")
    spots = [place if isinstance(texts, str) else place.at(index) for index in range(len(names))]
    return frozenset(
        values.read_choice(text, Via, spot, Via.OPERATOR) for text, spot in zip(names, spots, strict=True)
    )
