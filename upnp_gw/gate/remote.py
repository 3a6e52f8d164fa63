"""``remote`` of a rule: prefixes and address lists of remote hosts. Pure.

A list (``[set]``) is a finite set of addresses, like a list of prefixes in the rule itself.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from upnp_gw.model.address_ranges import AFTER_ALL, EVERY_ADDRESS, NO_ADDRESSES, AddressRanges
from upnp_gw.model.mapping import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class AddressSet:
    """A ``[set]`` of the policy, with the addresses of its file."""

    name: str
    named: str
    """The file, as the policy names it."""
    file: str
    """Its path, for messages."""
    ranges: AddressRanges
    entries: int
    """Addresses and prefixes in the file."""
    max_age_s: int | None = None
    """Seconds after which the list is out of date; None: it never is."""
    as_of: float = 0.0
    """Wall-clock seconds at which the file was last changed."""

    @property
    def fresh_until(self) -> float | None:
        """Wall-clock seconds from which on the list is out of date; None: never."""
        return None if self.max_age_s is None else self.as_of + self.max_age_s


@dataclass(frozen=True, slots=True)
class Hosts:
    """Remote hosts: prefixes, and lists by name. The kernel has a set of each such union that a screen needs."""

    prefixes: tuple[IPNetwork, ...]
    sets: tuple[str, ...]
    """Sorted."""
    ranges: AddressRanges = field(repr=False)
    """All their addresses."""
    without: str = ""
    """The text of hosts that are taken away from these."""

    @property
    def id(self) -> str:
        """Its name for the kernel: the same whatever the lists have in them."""
        return f"h{hashlib.sha256(self.text.encode()).hexdigest()[:11]}"

    @property
    def texts(self) -> list[str]:
        """Its entries in the policy file."""
        return [*(f"@{name}" for name in self.sets), *map(_prefix_text, self.prefixes)]

    @property
    def text(self) -> str:
        """As the policy file has it: ``@office, 203.0.113.0/24``."""
        hosts = ", ".join(self.texts)
        return f"{hosts} without {self.without}" if self.without else hosts


@dataclass(frozen=True, slots=True)
class RemoteHosts:
    """The hosts of ``only`` that are not in ``never``."""

    only: Hosts | None = None
    """None: every host."""
    never: Hosts | None = None
    """None: nobody is taken away."""

    @property
    def sets(self) -> frozenset[str]:
        """The lists on which it depends."""
        return frozenset(name for hosts in (self.only, self.never) if hosts is not None for name in hosts.sets)

    @property
    def plain(self) -> tuple[IPNetwork, ...] | None:
        """The prefixes, where it has neither lists nor ``never``; else None."""
        if self.never is not None or self.only is None or self.only.sets:
            return None
        return self.only.prefixes

    @property
    def ranges(self) -> AddressRanges:
        """All the addresses. O(n)."""
        return _difference(
            self.only.ranges if self.only is not None else EVERY_ADDRESS,
            self.never.ranges if self.never is not None else NO_ADDRESSES,
        )

    def has(self, address: IPAddress) -> bool:
        """True if it has this host. O(log n)."""
        return (self.only is None or self.only.ranges.has(address)) and not (
            self.never is not None and self.never.ranges.has(address)
        )

    def includes(self, net: IPNetwork) -> bool:
        """True if it has every host of the prefix. O(log n)."""
        return (self.only is None or self.only.ranges.includes(net)) and not (
            self.never is not None and self.never.ranges.meets(net)
        )

    def within(self, net: IPNetwork) -> AddressRanges:
        """The part of it inside a prefix. O(log n + runs there)."""
        part = (self.only.ranges if self.only is not None else EVERY_ADDRESS).within(net)
        return part if self.never is None else part - self.never.ranges.within(net)

    def meets(self, net: IPNetwork) -> bool:
        """True if it has a host of the prefix."""
        return bool(self.within(net))

    def any_of(self, version: int) -> bool:
        """True if it has a host of this family, 4 or 6."""
        if self.never is None:
            return self.only is None or self.only.ranges.any_of(version)
        return self.ranges.any_of(version)

    def has_number(self, version: int, number: int) -> bool:
        """True if it has this host, an address as a number. O(log n)."""
        if self.only is not None and not self.only.ranges.has_number(version, number):
            return False
        return self.never is None or not self.never.ranges.has_number(version, number)

    def next_edge(self, version: int, number: int) -> int:
        """A number above this one, up to which all addresses are in it or all are not."""
        edges = (hosts.ranges.next_edge(version, number) for hosts in (self.only, self.never) if hosts is not None)
        return min(edges, default=AFTER_ALL)

    @property
    def screens(self) -> tuple[tuple[Hosts, ...], tuple[Hosts, ...]]:
        """(hosts of which a remote host must be one, hosts of which it must be none), where these may connect."""
        return _tuple(self.only), _tuple(self.never)

    @property
    def screens_against(self) -> tuple[tuple[Hosts, ...], tuple[Hosts, ...]]:
        """The same where all but these may connect."""
        if self.only is None or self.never is None:
            return _tuple(self.never), _tuple(self.only)
        return (), (replace(self.only, ranges=self.ranges, without=self.never.text),)

    @property
    def text(self) -> str:
        """In words: ``only @office, never @blocklist``."""
        parts = [f"only {self.only.text}"] if self.only is not None else []
        return ", ".join([*parts, *([f"never {self.never.text}"] if self.never is not None else [])])

    def as_toml(self) -> object:
        """The value of the key ``remote``."""
        if self.never is None and self.only is not None:
            return self.only.texts
        both = {"only": self.only, "never": self.never}
        return {key: hosts.texts for key, hosts in both.items() if hosts is not None}


def _prefix_text(net: IPNetwork) -> str:
    """A prefix, or an address without the prefix length of a single host."""
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def _tuple(hosts: Hosts | None) -> tuple[Hosts, ...]:
    return () if hosts is None else (hosts,)


_differences: "WeakKeyDictionary[AddressRanges, WeakKeyDictionary[AddressRanges, AddressRanges]]"
_differences = WeakKeyDictionary()
"""For as long as a policy has the addresses: a list of 100,000 prefixes that changes must not stay."""


def _difference(only: AddressRanges, never: AddressRanges) -> AddressRanges:
    if not never:
        return only
    known = _differences.setdefault(never, WeakKeyDictionary())
    found = known.get(only)
    if found is None:
        found = known[only] = only - never
    return found


def stale_sets(sets: Mapping[str, AddressSet], wall: float) -> frozenset[str]:
    """The names of the lists that are out of date at this wall-clock second."""
    return frozenset(name for name, one in sets.items() if (until := one.fresh_until) is not None and wall >= until)
