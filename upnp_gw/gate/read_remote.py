"""Reads ``remote`` of a rule or a test: prefixes and ``@lists``, as one list or as ``only`` and ``never``."""

from collections.abc import Mapping
from typing import Any

from upnp_gw.gate import values
from upnp_gw.gate.policyfile import Names, RemoteTable, to_table
from upnp_gw.gate.remote import AddressSet, Hosts, RemoteHosts
from upnp_gw.gate.values import KeyPath, known_names
from upnp_gw.model.address_ranges import EVERY_ADDRESS, NO_ADDRESSES, AddressRanges
from upnp_gw.model.mapping import IPNetwork

EMPTY = "; leave it out for anyone, or name prefixes"
EMPTY_ONLY = "; leave it out for every host, or name prefixes"
EMPTY_NEVER = "; leave it out for nobody, or name prefixes"


class RemoteReader:
    """Equal lists of hosts are one object: 100,000 prefixes are held once."""

    def __init__(self, sets: Mapping[str, AddressSet], where: str) -> None:
        """``where``: the operator's file. A rule of approved.toml may name a list that was removed: it lets nobody
        connect."""
        self.where = where
        self.sets = sets
        self._made: dict[tuple[tuple[IPNetwork, ...], tuple[str, ...], bool], Hosts] = {}

    def read(self, raw: Names | dict[str, Any] | None, place: KeyPath) -> RemoteHosts | None:
        """None: the key is not set. Raises ConfigError."""
        if raw is None:
            return None
        if isinstance(raw, str | list):
            return RemoteHosts(self._hosts(raw, place, EMPTY))
        table = to_table(raw, RemoteTable, place.where, place.key)
        if table.only is None and table.never is None:
            raise place.empty(EMPTY)
        return RemoteHosts(
            None if table.only is None else self._hosts(table.only, place.at("only"), EMPTY_ONLY),
            None if table.never is None else self._hosts(table.never, place.at("never"), EMPTY_NEVER, never=True),
        )

    def read_stale(self, texts: Names | None, place: KeyPath) -> frozenset[str]:
        """``stale`` of a test: names of lists that can be out of date. None: the key is not set. Raises
        ConfigError."""
        names = set[str]()
        if texts is None:
            return frozenset()
        for index, text in enumerate(values.as_list(texts)):
            spot = place if isinstance(texts, str) else place.at(index)
            found = self.sets.get(text[1:]) if text.startswith("@") else None
            if found is None:
                raise spot.wrong(text, known_names("set", self.sets, "@"), example=False)
            if found.max_age_s is None:
                raise spot.fail(f"set {found.name} has no max_age, so it is never out of date; remove it here")
            names.add(found.name)
        if not names:
            raise place.empty("; leave it out where every list is up to date")
        return frozenset(names)

    def _hosts(self, texts: Names, place: KeyPath, without: str, never: bool = False) -> Hosts:
        entries = values.as_list(texts)
        if not entries:
            raise place.empty(without)
        prefixes: list[IPNetwork] = []
        names: set[str] = set()
        for index, text in enumerate(entries):
            spot = place if isinstance(texts, str) else place.at(index)
            if text.startswith("@"):
                self._check_name(text, spot)
                names.add(text[1:])
            else:
                prefixes.append(values.read_prefix(text, spot))
        return self._union(tuple(dict.fromkeys(prefixes)), tuple(sorted(names)), never)

    def _check_name(self, text: str, place: KeyPath) -> None:
        if text[1:] not in self.sets and place.where == self.where:
            raise place.wrong(text, known_names("set", self.sets, "@"), example=False)

    def _union(self, prefixes: tuple[IPNetwork, ...], names: tuple[str, ...], never: bool) -> Hosts:
        lost = never and not self.sets.keys() >= set(names)
        found = self._made.get((prefixes, names, lost))
        if found is None:
            ranges = EVERY_ADDRESS if lost else self._ranges(prefixes, names)
            found = self._made[prefixes, names, lost] = Hosts(prefixes, names, ranges)
        return found

    def _ranges(self, prefixes: tuple[IPNetwork, ...], names: tuple[str, ...]) -> AddressRanges:
        parts = [self.sets[name].ranges for name in names if name in self.sets]
        parts += [AddressRanges.of(prefixes)] if prefixes else []
        first, *rest = parts or [NO_ADDRESSES]
        for other in rest:
            first = first | other
        return first
