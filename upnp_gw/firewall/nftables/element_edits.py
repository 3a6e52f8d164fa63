"""Edits of map elements, and their order in one transaction. Pure."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from upnp_gw.firewall.nftables.elements import Element, Slot
from upnp_gw.firewall.nftables.ruleset import FILLED, SPECIAL
from upnp_gw.model.network import Network

ELEMENTS_PER_STEP = 150
"""The longest elements of so many are shorter than 64 KiB, the most that one netlink attribute holds."""
STEPS_PER_PORTION = 6
"""One for each map that a home network fills. As text or as messages they stay below 208 KiB, which any socket may
send."""


class ElementEdit(NamedTuple):
    """A change of one slot."""

    old: Element | None
    """The element that may be there; None: no element. With other data the kernel refuses the transaction."""
    new: Element | None

    @classmethod
    def renewing(cls, element: Element) -> "ElementEdit":
        return cls(element, element)


class Step(NamedTuple):
    """Elements of one map that are added or deleted together."""

    adds: bool
    map: str
    elements: Sequence[tuple[Slot, Element]]


class Edits(NamedTuple):
    """The edits of one transaction, in the order in which the kernel makes them."""

    network: Network | None = None
    """Renews the sets of our own interfaces and addresses; None: they stay."""
    emptied: Sequence[str] = ()
    """The maps that are emptied."""
    steps: Sequence[Step] = ()

    def __bool__(self) -> bool:
        return bool(self.network or self.emptied or self.steps)


class ElementEdits:
    """The edits of one batch."""

    def __init__(self, screened: Sequence[str] = ()) -> None:
        """``screened``: the maps and sets of the screens."""
        self.screened = screened
        self._to_fill = (*FILLED, *screened)
        self._edits: dict[Slot, ElementEdit] = {}
        self._filled: dict[Slot, Element] = {}
        """The elements that a refill adds, without those that have an edit."""
        self._network: Network | None = None
        self.refilled = False
        """The transaction empties the maps of ``FILLED`` and of the screens first."""

    def record(self, slot: Slot, old: Element | None, new: Element | None) -> None:
        """``old`` may be in the kernel; the one of an earlier edit of the slot in this transaction wins."""
        earlier = self._edits.get(slot)
        self.replace(slot, ElementEdit(earlier.old if earlier is not None else old, new))

    def replace(self, slot: Slot, edit: ElementEdit) -> None:
        """Records an edit in place of any earlier one of the slot."""
        self._filled.pop(slot, None)
        self._edits[slot] = edit

    def longest_added(self, maps: Container[str]) -> int:
        """The longest timeout in seconds of an element that is added to these maps; 0: none is."""
        edited = (new.timeout_s for slot, (_, new) in self._edits.items() if new is not None and slot.map in maps)
        filled = (element.timeout_s for slot, element in self._filled.items() if slot.map in maps)
        return max(max(edited, default=0), max(filled, default=0))

    def renew_own_sets(self, network: Network) -> None:
        """The sets of our own interfaces and addresses are renewed before all edits."""
        self._network = network

    def empty_maps(self) -> None:
        """Begins a refill."""
        self._edits = {slot: edit for slot, edit in self._edits.items() if slot.map not in self._to_fill}
        self._filled = {}
        self.refilled = True

    def fill(self, elements: dict[Slot, Element]) -> None:
        """Records the elements that a refill adds, right after ``empty_maps``."""
        self._filled = elements

    def whole(self) -> Edits:
        """One transaction: add, delete, add. The first add restores an element that has expired, so that the delete
        finds it.

        An add alone renews the timeout on recent kernels only; older ones ignore it without an error.
        """
        return Edits(self._network, self._emptied(), list(self._steps()))

    def portions(self) -> Iterator[Edits]:
        """A refill in several transactions, for a socket that cannot send it in one.

        The first transaction empties the maps and adds elements to six of them, so some mappings are open at any
        moment. The elements of a forward in ``pm``, ``live`` and ``out`` go together. ``SPECIAL`` comes first:
        without it no packet finds the elements of ``SPECIAL_MAPS``.
        """
        seen: Counter[tuple[bool, str]] = Counter()

        def transaction(step: Step) -> int:
            seen[step.adds, step.map] += 1
            return 0 if step.map == SPECIAL else seen[step.adds, step.map]

        steps = sorted(self._steps(), key=transaction)
        yield Edits(self._network, self._emptied(), steps[:STEPS_PER_PORTION])
        for at in range(STEPS_PER_PORTION, len(steps), STEPS_PER_PORTION):
            yield Edits(steps=steps[at : at + STEPS_PER_PORTION])

    def _emptied(self) -> tuple[str, ...]:
        return self._to_fill if self.refilled else ()

    def _steps(self) -> Iterator[Step]:
        olds: dict[str, list[tuple[Slot, Element]]] = {}
        adds: dict[str, list[tuple[Slot, Element]]] = {}
        for filled in self._filled.items():
            adds.setdefault(filled[0].map, []).append(filled)
        for slot, (old, new) in self._edits.items():
            if new is not None:
                adds.setdefault(slot.map, []).append((slot, new))
            if old is not None and not (self.refilled and slot.map in self._to_fill):
                olds.setdefault(slot.map, []).append((slot, old))
        yield from _steps(True, olds)
        yield from _steps(False, olds)
        yield from _steps(True, adds)


def _steps(adds: bool, elements: Mapping[str, Sequence[tuple[Slot, Element]]]) -> Iterator[Step]:
    """At most ``ELEMENTS_PER_STEP`` elements each. A refill may be split between steps."""
    for name, those in elements.items():
        for at in range(0, len(those), ELEMENTS_PER_STEP):
            yield Step(adds, name, those[at : at + ELEMENTS_PER_STEP])
