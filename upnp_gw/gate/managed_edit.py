"""Edits the text of ``approved.toml`` with tomlkit, a megabyte: loaded with the first change of the operator.

Comments that an operator added stay where they are. From text to text; pure.
"""

from collections.abc import Collection

import tomlkit
from tomlkit.items import AoT, InlineTable, Table

from upnp_gw.gate.managed_file import HEADER, KINDS, ManagedChange, ManagedText, Plain


def changed(text: str, change: ManagedChange) -> ManagedText:
    """The text with the change made. ``text`` is valid TOML; tomlkit may raise anything if it cannot edit it."""
    document = tomlkit.parse(text or f"{HEADER}\nversion = 1\n")
    as_tables(document)
    for old, new in change.renamed.items():
        _rename(document, old, new)
    for kind in KINDS:
        _drop_rules(document, kind, change.without)
    _add(document, change)
    return ManagedText(tomlkit.dumps(document), toml_of(change))


def toml_of(change: ManagedChange) -> str:
    """The additions of the change, as TOML."""
    document = tomlkit.document()
    _add(document, change)
    return tomlkit.dumps(document).strip() + "\n" if document else ""


def _add(document: tomlkit.TOMLDocument, change: ManagedChange) -> None:
    for name, table in change.devices.items():
        if "device" not in document:
            document.add("device", tomlkit.table(is_super_table=True))
        document["device"][name] = _table(table)
    for kind, rules in (("forbid", change.forbids), ("grant", change.grants)):
        if rules and kind not in document:
            document.add(kind, tomlkit.aot())
        for rule in rules:
            document[kind].append(_table(rule))


def as_tables(document: tomlkit.TOMLDocument) -> None:
    """Turns inline tables of devices and rules into tables of their own, which can be added and removed."""
    for kind in KINDS:
        rules = document.get(kind)
        if rules is not None and not isinstance(rules, AoT):
            document.remove(kind)
            kept = tuple(rules.unwrap())
            _add(document, ManagedChange({}, forbids=kept) if kind == "forbid" else ManagedChange({}, grants=kept))
    devices = document.get("device")
    if isinstance(devices, InlineTable):
        document.remove("device")
        _add(document, ManagedChange(devices.unwrap()))


def _table(values: Plain) -> Table:
    table = tomlkit.table()
    for key, value in values.items():
        table.add(key, value)
    table.add(tomlkit.nl())
    return table


def _drop_rules(document: tomlkit.TOMLDocument, kind: str, names: Collection[str]) -> None:
    rules = document.get(kind)
    if not isinstance(rules, AoT):
        return
    for index in reversed(range(len(rules))):
        if rules[index].get("name") in names:
            del rules[index]
    if not rules:
        document.remove(kind)


def _rename(document: tomlkit.TOMLDocument, old: str, new: str) -> None:
    devices = document.get("device")
    if devices is not None and old in devices:
        devices.remove(old)
    for kind in KINDS:
        for rule in document.get(kind, ()):
            who = rule.get("who")
            if who == old:
                rule["who"] = new
            elif isinstance(who, list):
                rule["who"] = [new if name == old else str(name) for name in who]
