"""The LANs of the file: ``[lan]`` for all together, or several ``[[lan]]``, each with NAT or without. Pure."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from upnp_gw.config.settings import Settings
from upnp_gw.model.errors import ConfigError

_ITEM = re.compile(r"lan\.(interfaces|routed)\[(\d+)\]")


def merged(where: str, tables: Mapping[str, Settings]) -> Settings:
    """The settings of all tables together. ``tables``: key path -> the values of its keys, by field of ``Config``.
    Raises ConfigError."""
    settings: Settings = {}
    for place, table in tables.items():
        names = table.get("lan", ())
        if not names and place != "lan":
            raise ConfigError(where, f"{place}.interfaces", 'missing; write interfaces = ["br-lan"]')
        if not names and "nat_of_lan" in table:
            problem = "nat needs interfaces in this table; accepted: nat in [firewall], for all interfaces"
            raise ConfigError(where, f"{place}.nat", problem)
        _each_once(where, f"{place}.interfaces", names, settings.get("lan", ()))
        _each_once(where, f"{place}.routed", table.get("routed", ()), settings.get("routed", ()))
        _one_hairpin(where, f"{place}.hairpin", table, settings)
        settings = _joined(place, table, settings)
    return settings


def _joined(place: str, table: Settings, before: Settings) -> Settings:
    """The settings with one more table. The interfaces of ``[lan]`` are no LAN of their own: the kernel alone knows
    where its routed prefixes are."""
    joined = before | table
    names = table.get("lan", ())
    if names:
        joined["lan"] = (*before.get("lan", ()), *names)
    if "nat_of_lan" in table:
        joined["nat_of_lan"] = before.get("nat_of_lan", {}) | dict.fromkeys(names, table["nat_of_lan"])
    if "routed" in table:
        lan = "" if place == "lan" else names[0]
        joined["routed"] = before.get("routed", {}) | dict.fromkeys(table["routed"], lan)
    return joined


def _each_once(where: str, key: str, items: Collection[object], earlier: Collection[object]) -> None:
    for index, item in enumerate(items):
        if item in earlier:
            problem = f'got "{item}", which an earlier [[lan]] has; accepted: each value only once'
            raise ConfigError(where, f"{key}[{index}]", problem)


def _one_hairpin(where: str, key: str, table: Settings, before: Settings) -> None:
    value = table.get("hairpin")
    earlier = before.get("hairpin", value)
    if value != earlier and value is not None:
        problem = f'got "{value}", but an earlier [[lan]] has "{earlier}"; accepted: one value for all LANs'
        raise ConfigError(where, key, problem)


@contextmanager
def name_tables(text: str) -> Iterator[None]:
    """Names the table in an error about an interface or a prefix: ``lan.routed[2]``, counted over all LANs, is
    ``lan[1].routed[0]`` where the text has several ``[[lan]]``."""
    try:
        yield
    except ConfigError as error:
        item = _ITEM.fullmatch(error.key)
        key = _key_of(text, item[1], int(item[2])) if item is not None else None
        if key is None:
            raise
        raise ConfigError(error.where, key, error.problem) from None


def _key_of(text: str, key: str, index: int) -> str | None:
    tables = tomllib.loads(text).get("lan")
    for number, table in enumerate(tables if isinstance(tables, list) else ()):
        count = len(table.get(key, ()))
        if index < count:
            return f"lan[{number}].{key}[{index}]"
        index -= count
    return None
