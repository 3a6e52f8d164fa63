"""What the maps hold by our own knowledge, and the smallest transaction for a batch of changes.

A change is worked out in a ``Draft`` over the books; only when the kernel has taken its transaction do the books
take the draft. So a refused batch leaves no trace, and a request costs O(its own changes).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

from upnp_gw.errors import FirewallError
from upnp_gw.firewall.base import Change, Close, Cut, Forward, Open, Refill, Rewire
from upnp_gw.firewall.conntrack import Flows
from upnp_gw.firewall.nftables.elements import Element, Inner, Slot, element_of, inner_of, seconds, slot_of
from upnp_gw.firewall.nftables.ruleset import FILLED, MAPS, TABLE, own_sets
from upnp_gw.model import Kind
from upnp_gw.network import Network

CUT_S = 120
"""How long a cut endpoint stays in ``cut``: longer than a TCP peer waits between two tries of a live flow."""
LIVE_GRACE_S = 90.0
"""How much longer ``live`` lives than the mapping, seconds: flows of an expired one are cut after 60."""
LINE, LINES = 250, 4
"""Elements of one command, commands of one portion: under the 208 KiB that any socket may send."""

K = TypeVar("K")
V = TypeVar("V")


class Held(NamedTuple):
    """A forward in the maps."""

    forward: Forward
    until: float
    """The monotonic second at which the kernel ends it."""


class Edit(NamedTuple):
    """What becomes of one slot."""

    old: Element | None
    """What may stand there, with its data: other data, and the kernel refuses the transaction. None: nothing."""
    new: Element | None

    @classmethod
    def renewing(cls, element: Element) -> "Edit":
        return cls(element, element)


class Layer(Generic[K, V]):
    """Changes over a dict that stay apart from it until ``merge``."""

    def __init__(self, base: dict[K, V]) -> None:
        self._base = base
        self._cleared = False
        self._length = len(base)
        self._changed: dict[K, V | None] = {}

    def get(self, key: K) -> V | None:
        if key in self._changed:
            return self._changed[key]
        return None if self._cleared else self._base.get(key)

    def __setitem__(self, key: K, value: V | None) -> None:
        """None takes the key away."""
        self._length += (value is not None) - (self.get(key) is not None)
        self._changed[key] = value

    def __iter__(self) -> Iterator[K]:
        for key in () if self._cleared else self._base:
            if key not in self._changed:
                yield key
        for key, value in self._changed.items():
            if value is not None:
                yield key

    def __len__(self) -> int:
        return self._length

    def clear(self) -> None:
        self._length = 0
        self._cleared = True
        self._changed.clear()

    def merge(self) -> None:
        if self._cleared:
            self._base.clear()
        for key, value in self._changed.items():
            if value is None:
                self._base.pop(key, None)
            else:
                self._base[key] = value


@dataclass(slots=True)
class Books:
    """Everything that we have put into the maps."""

    network: Network
    size: int
    """Forwards at most (SR-5). The maps' own bound is twice that: see ``ruleset``."""
    live_grace_s: float = LIVE_GRACE_S
    forwards: dict[str, Held] = field(default_factory=dict)
    slots: dict[Slot, str] = field(default_factory=dict)
    """Slot -> id of the forward in it."""
    users: dict[Inner, tuple[str, ...]] = field(default_factory=dict)
    """Internal endpoint -> the forwards that lead to it, oldest first."""
    outs: dict[Inner, tuple[str, str]] = field(default_factory=dict)
    """Internal endpoint -> the forward whose external port it keeps, and the element's data."""

    def draft(self, changes: Iterable[Change], now: float) -> "Draft":
        """Works out the changes; ``now`` is the monotonic second. Raises FirewallError for impossible ones."""
        draft = Draft(self, now)
        for change in changes:
            draft.add(change)
        draft.settle()
        if len(draft) > max(self.size, len(self.forwards)):
            raise FirewallError("the table is full")
        return draft


class Draft:
    """A batch that is not in force yet: ``commands`` for the kernel, ``flows`` to end afterwards."""

    def __init__(self, books: Books, now: float) -> None:
        self._books = books
        self._now = now
        self._network = books.network
        self._forwards = Layer(books.forwards)
        self._slots = Layer(books.slots)
        self._users = Layer(books.users)
        self._outs = Layer(books.outs)
        self._edits: dict[Slot, Edit] = {}
        self._touched: dict[Inner, None] = {}
        self._cut: set[Inner] = set()
        self._head: list[str] = []
        self.flows: list[Flows] = []
        self.refilled = False
        self.renewed: list[Forward] = []
        """Forwards whose element, with its counter, is made anew by this transaction."""
        self.renewed_inners: list[Inner] = []
        """The same of elements in ``live``."""

    def add(self, change: Change) -> None:
        match change:
            case Open(forward, replaces):
                if replaces is not None:
                    self._replace(replaces, forward)
                self._open(forward)
            case Close(forward):
                self._close(forward)
            case Cut(forward):
                self._cut.add(inner_of(forward))
                self._touched[inner_of(forward)] = None
                self.flows.append(Flows.through(forward))
            case Refill(forwards):
                self._refill(forwards)
            case Rewire(network):
                self._rewire(network)

    def __len__(self) -> int:
        """The forwards after it."""
        return len(self._forwards)

    def settle(self) -> None:
        """Brings ``live``, ``out`` and ``cut`` of every touched endpoint to what now leads there."""
        for inner in self._touched:
            v6 = inner.endpoint.address.version == 6
            if not v6:
                self._settle_live(inner)
                self._settle_out(inner)
            if inner in self._cut:
                self._edits[Slot("cut6" if v6 else "cut", inner.key)] = Edit.renewing(Element("", "", CUT_S))
        self.flows = [self._sparing(flows) for flows in self.flows]

    @property
    def commands(self) -> str:
        """One transaction: ``add`` so that ``delete`` finds what may have expired, ``delete``, ``add``.

        An ``add`` alone would renew the timeout only on recent kernels, and silently not on the others.
        """
        return "\n".join(self._lines())

    def portions(self) -> Iterator[str]:
        """The same in several transactions, for a socket that cannot send it whole. Only of a refill.

        The first empties the maps and fills in the first of every map, so that no moment has nothing open: a
        forward's elements in ``pm``, ``live`` and ``out`` go together.
        """
        seen: Counter[str] = Counter()

        def turn(line: str) -> int:
            name = line.partition("{")[0]
            seen[name] += 1
            return seen[name]

        fill = sorted((line for line in self._lines() if line not in self._head), key=turn)
        yield "\n".join([*self._head, *fill[:LINES]])
        for at in range(LINES, len(fill), LINES):
            yield "\n".join(fill[at : at + LINES])

    def _lines(self) -> list[str]:
        firsts: dict[str, list[str]] = {}
        deletes: dict[str, list[str]] = {}
        adds: dict[str, list[str]] = {}
        for slot, edit in self._edits.items():
            if edit.new is not None:
                adds.setdefault(slot.map, []).append(edit.new.text(slot.key))
            if self.refilled and slot.map in FILLED:
                continue
            if edit.old is not None:
                firsts.setdefault(slot.map, []).append(edit.old.text(slot.key))
                deletes.setdefault(slot.map, []).append(slot.key)
        return [*self._head, *_commands("add", firsts), *_commands("delete", deletes), *_commands("add", adds)]

    def commit(self) -> None:
        """The kernel has taken it."""
        for layer in (self._forwards, self._slots, self._users, self._outs):
            layer.merge()
        self._books.network = self._network

    def _open(self, forward: Forward) -> None:
        held = self._forwards.get(forward.id)
        slot, inner, element = slot_of(forward), inner_of(forward), element_of(forward)
        if held is not None and (slot_of(held.forward), inner_of(held.forward)) != (slot, inner):
            self._replace(held.forward, forward)
            held = None
        if held is None and forward.kind is Kind.PORT_MAPPING:
            self.flows.append(Flows.untranslated(forward))
        self._put(slot, element)
        if held is not None:
            self.renewed.append(held.forward)
        self._forwards[forward.id] = Held(forward, self._now + element.timeout_s)
        self._slots[slot] = forward.id
        users = self._users.get(inner) or ()
        if forward.id not in users:
            self._users[inner] = (*users, forward.id)
        self._touched[inner] = None

    def _replace(self, old: Forward, new: Forward) -> None:
        self._close(old)
        if old.internal != new.internal:  # its flows now lead past the mapping
            self._cut.add(inner_of(old))
            self.flows.append(Flows.through(old))

    def _close(self, forward: Forward) -> None:
        held = self._forwards.get(forward.id)
        if held is not None:
            forward = held.forward
        slot, inner = slot_of(forward), inner_of(forward)
        if self._slots.get(slot) in (forward.id, None):  # else another forward has taken the place over
            edit = self._edits.get(slot)
            self._edits[slot] = Edit(edit.old if edit else element_of(forward), None)
            self._slots[slot] = None
        self._forwards[forward.id] = None
        left = tuple(user for user in self._users.get(inner) or () if user != forward.id)
        self._users[inner] = left or None
        self._touched[inner] = None

    def _put(self, slot: Slot, element: Element) -> None:
        holder = self._forwards.get(self._slots.get(slot) or "")
        if holder is not None and holder.forward.id != element.comment:
            if holder.until > self._now:
                raise FirewallError("another forward has this external port")
            self._close(holder.forward)  # the kernel has ended it, nobody closed it
            holder = None
        standing = element_of(holder.forward) if holder is not None else None
        edit = self._edits.get(slot, Edit(standing, None))
        self._edits[slot] = Edit(edit.old, element)

    def _refill(self, forwards: Sequence[Forward]) -> None:
        self.refilled = True
        self._head = [f"flush {'map' if name in MAPS else 'set'} {TABLE} {name}" for name in FILLED]
        self._edits = {slot: edit for slot, edit in self._edits.items() if slot.map not in FILLED}
        for layer in (self._forwards, self._slots, self._users, self._outs):
            layer.clear()
        self._touched.clear()
        for forward in forwards:
            self._open(forward)

    def _rewire(self, network: Network) -> None:
        self._head.append(own_sets(network))
        if network.external[:1] != self._network.external[:1]:
            self._touched.update(dict.fromkeys(self._users))
        self._network = network

    def _sparing(self, flows: Flows) -> Flows:
        """What another forward to the same endpoint lets in is not among the flows to end."""
        if flows.internal is None:
            return flows
        users = self._users.get(Inner(flows.transport, flows.internal)) or ()
        standing = [held.forward for held in map(self._held, users) if held.until > self._now]
        return replace(flows, spared=tuple(map(Flows.through, standing)))

    def _settle_live(self, inner: Inner) -> None:
        grace = self._books.live_grace_s
        users = self._users.get(inner)
        slot = Slot("live", inner.key)
        if users:
            if inner in self._books.users:
                self.renewed_inners.append(inner)
            until = max(self._held(user).until for user in users)
            self._edits[slot] = Edit.renewing(Element("", "", seconds(until - self._now + grace)))
        elif inner in self._cut:
            self._edits[slot] = Edit(Element("", "", 1), None)
        else:
            self._edits[slot] = Edit.renewing(Element("", "", seconds(grace)))

    def _settle_out(self, inner: Inner) -> None:
        slot = Slot("out", inner.key)
        before = self._outs.get(inner)
        keepers = [u for u in self._users.get(inner) or () if self._held(u).forward.keep_source_port]
        after = None
        if keepers:
            keeper = before[0] if before is not None and before[0] in keepers else keepers[0]
            after = self._out_of(self._held(keeper))
        old = Element(before[1], "", 1) if before is not None else None
        if before is None and after is None:
            return
        self._edits[slot] = Edit(old, after[1] if after is not None else None)
        self._outs[inner] = (after[0], after[1].data) if after is not None else None

    def _out_of(self, held: Held) -> tuple[str, Element] | None:
        forward = held.forward
        own = forward.external_address or next(iter(self._network.external), None)
        if own is None:
            return None
        data = f"{own} . {forward.external_port}"
        return forward.id, Element(data, "", seconds(held.until - self._now))

    def _held(self, forward_id: str) -> Held:
        held = self._forwards.get(forward_id)
        assert held is not None, "users and forwards go together"
        return held


def _commands(verb: str, elements: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{verb} element {TABLE} {name} {{ {', '.join(keys[at : at + LINE])} }}"
        for name, keys in elements.items()
        for at in range(0, len(keys), LINE)
    ]
