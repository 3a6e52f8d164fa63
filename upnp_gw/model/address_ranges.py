"""Sets of addresses of both families, as sorted edges. Pure; a look-up is O(log n), each other operation O(n).

An edge is the first address of a run inside the set, or the first one after it. So an address after an odd number
of edges is inside. The IPv4 edges of 100,000 prefixes are 1.6 MB.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from itertools import islice
from operator import le

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Span = tuple[int, int]
"""The first and the last address of a run, as numbers."""
VERSIONS = (4, 6)
TOGETHER = 2000
"""Edges or runs that are handled at once, while other threads wait."""
AFTER_ALL = (1 << 128) + 1
"""Above every edge."""


class AddressRanges:
    """An immutable set of IPv4 and IPv6 addresses."""

    __slots__ = ("__weakref__", "_digest", "_edges")

    def __init__(self, four: Sequence[int] = (), six: Sequence[int] = ()) -> None:
        """The edges of each family, sorted, each once, an even number."""
        self._edges: dict[int, Sequence[int]] = {4: array("Q", four), 6: tuple(six)}
        self._digest = ""

    @classmethod
    def of(cls, networks: Iterable[IPNetwork]) -> "AddressRanges":
        """The addresses of these prefixes."""
        spans: dict[int, list[Span]] = {4: [], 6: []}
        for net in networks:
            spans[net.version].append((int(net.network_address), int(net.broadcast_address)))
        return cls.of_spans(spans[4], spans[6])

    @classmethod
    def of_spans(cls, four: Iterable[Span], six: Iterable[Span] = ()) -> "AddressRanges":
        """The addresses of these runs, in any order; they may overlap."""
        return cls(_joined(four), _joined(six))

    @property
    def digest(self) -> str:
        """12 hex digits over the addresses."""
        if not self._digest:
            import hashlib  # here: see ``mapping._screen_name``

            found = hashlib.sha256()
            for version in VERSIONS:
                edges = self._edges[version]
                for at in range(0, len(edges), TOGETHER):  # no other thread runs while a text is made
                    found.update(f"{',' * (at > 0)}{','.join(map(str, edges[at : at + TOGETHER]))}".encode())
                found.update(b";" * (version == VERSIONS[0]))
            self._digest = found.hexdigest()[:12]
        return self._digest

    def has(self, address: IPAddress) -> bool:
        """True if the address is in the set."""
        return bool(bisect_right(self._edges[address.version], int(address)) & 1)

    def includes(self, net: IPNetwork) -> bool:
        """True if every address of the prefix is in the set."""
        edges, first = self._edges[net.version], int(net.network_address)
        at = bisect_right(edges, first)
        return bool(at & 1) and edges[at] > int(net.broadcast_address)

    def meets(self, net: IPNetwork) -> bool:
        """True if an address of the prefix is in the set."""
        edges, first = self._edges[net.version], int(net.network_address)
        at = bisect_right(edges, first)
        return bool(at & 1) or (at < len(edges) and edges[at] <= int(net.broadcast_address))

    def has_number(self, version: int, number: int) -> bool:
        """The same as ``has``, of an address as a number."""
        return bool(bisect_right(self._edges[version], number) & 1)

    def next_edge(self, version: int, number: int) -> int:
        """The first edge above this number; ``AFTER_ALL`` where there is none: up to it all is as at the number."""
        edges = self._edges[version]
        at = bisect_right(edges, number)
        return edges[at] if at < len(edges) else AFTER_ALL

    def any_of(self, version: int) -> bool:
        """True if the set has an address of this family, 4 or 6."""
        return bool(self._edges[version])

    def spans(self, version: int) -> Iterator[Span]:
        """The runs of a family, in order."""
        edges = self._edges[version]
        for at in range(0, len(edges), 2):
            yield edges[at], edges[at + 1] - 1

    def count(self, version: int) -> int:
        """The number of runs of a family."""
        return len(self._edges[version]) // 2

    def networks(self, version: int) -> Iterator[IPNetwork]:
        """The same addresses of a family as the fewest prefixes, in order."""
        kind = IPv4Address if version == 4 else IPv6Address
        for first, last in self.spans(version):
            yield from summarize_address_range(kind(first), kind(last))

    def begins(self, version: int, every: int) -> Iterator[int]:
        """The first address of each so many-th run."""
        yield from self._edges[version][2 * every :: 2 * every]

    def begun_by(self, version: int, number: int) -> int | None:
        """The number of edges of the runs that lie below an address; None: it is inside a run, not its first."""
        edges = self._edges[version]
        at = bisect_left(edges, number)
        if at & 1:
            return at + 1 if edges[at] == number else None
        return at

    def up_to(self, version: int, number: int, other: "AddressRanges") -> "AddressRanges":
        """This set below an address, and another one from there on; the other family is that of the other set. The
        address is inside no run, or its first. Runs that touch there stay two."""
        edges, rest = self._edges[version], other._edges[version]
        at, after = self.begun_by(version, number), other.begun_by(version, number)
        assert at is not None
        assert after is not None
        found = AddressRanges()
        joined: Sequence[int] = edges[:at] + rest[after:]  # type: ignore[operator]
        found._edges = {**other._edges, version: joined}
        return found

    def differing(self, version: int, other: "AddressRanges") -> tuple[int, int, int]:
        """The number of runs that two sets of a family both begin with, and of those before the runs that both end
        with: in this set, and in the other one. Fast: compares whole parts."""
        one, two = self._edges[version], other._edges[version]
        most = min(len(one), len(two)) // 2
        first = _same(most, lambda low, high: one[2 * low : 2 * high] == two[2 * low : 2 * high])
        end, other_end = len(one), len(two)
        last = _same(
            most - first,
            lambda low, high: (
                one[end - 2 * high : end - 2 * low] == two[other_end - 2 * high : other_end - 2 * low]
            ),
        )
        return first, len(one) // 2 - first - last, len(two) // 2 - first - last

    def run(self, version: int, number: int) -> Span:
        """A run of a family."""
        edges = self._edges[version]
        return edges[2 * number], edges[2 * number + 1] - 1

    def some_spans(self, version: int, first: int, count: int) -> Iterator[Span]:
        """So many runs of a family, from this one on."""
        edges = self._edges[version][2 * first : 2 * (first + count)]
        for at in range(0, len(edges), 2):
            yield edges[at], edges[at + 1] - 1

    def within(self, net: IPNetwork) -> "AddressRanges":
        """The part of the set inside a prefix. O(log n + its runs there)."""
        edges, first, after = self._edges[net.version], int(net.network_address), int(net.broadcast_address) + 1
        low, high = bisect_right(edges, first), bisect_left(edges, after)
        part = [*([first] if low & 1 else []), *edges[low:high], *([after] if high & 1 else [])]
        return AddressRanges(part) if net.version == 4 else AddressRanges((), part)

    def __or__(self, other: "AddressRanges") -> "AddressRanges":
        return self._combined(other, lambda one, two: one or two)

    def __and__(self, other: "AddressRanges") -> "AddressRanges":
        return self._combined(other, lambda one, two: one and two)

    def __sub__(self, other: "AddressRanges") -> "AddressRanges":
        return self._combined(other, lambda one, two: one and not two)

    def _combined(self, other: "AddressRanges", inside: Callable[[bool, bool], bool]) -> "AddressRanges":
        return AddressRanges(*(_swept(self._edges[v], other._edges[v], inside) for v in VERSIONS))

    def __bool__(self) -> bool:
        return any(map(self.any_of, VERSIONS))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, AddressRanges) and self._edges == other._edges)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        return self.digest

    def __repr__(self) -> str:
        return f"AddressRanges({self.count(4)} runs of IPv4, {self.count(6)} of IPv6, {self.digest})"


def _same(most: int, equal: Callable[[int, int], bool]) -> int:
    """The number of things that are the same at the beginning. ``equal``: those of a part are."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if equal(low, middle):
            low = middle
        else:
            high = middle - 1
    return low


NO_ADDRESSES = AddressRanges()
EVERY_ADDRESS = AddressRanges((0, 1 << 32), (0, 1 << 128))


def _joined(spans: Iterable[Span]) -> list[int]:
    """The edges of runs that may overlap or touch."""
    edges: list[int] = []
    for first, last in _in_order(list(spans)):
        if edges and first <= edges[-1]:
            edges[-1] = max(edges[-1], last + 1)
        else:
            edges += (first, last + 1)
    return edges


def _in_order(spans: list[Span]) -> Iterator[Span]:
    """The spans, sorted in parts: while a part is sorted, no other thread runs."""
    if len(spans) <= TOGETHER or all(map(le, spans, islice(spans, 1, None))):
        yield from sorted(spans)
        return
    limits = sorted(spans[::TOGETHER])
    parts: list[list[Span]] = [[] for _ in range(len(limits) + 1)]
    for span in spans:
        parts[bisect_right(limits, span)].append(span)
    for part in parts:
        yield from sorted(part)


def _swept(one: Sequence[int], two: Sequence[int], inside: Callable[[bool, bool], bool]) -> list[int]:
    """The edges of a combination of two sets: one walk over the edges of both."""
    edges: list[int] = []
    at = to = 0
    while at < len(one) or to < len(two):
        mine = one[at] if at < len(one) else AFTER_ALL
        theirs = two[to] if to < len(two) else AFTER_ALL
        at += mine <= theirs
        to += theirs <= mine
        if inside(bool(at & 1), bool(to & 1)) != bool(len(edges) & 1):
            edges.append(min(mine, theirs))
    return edges
