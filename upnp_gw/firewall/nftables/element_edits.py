"""Edits of map elements, and the nft commands of one transaction for them. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from upnp_gw.firewall.base import TABLE
from upnp_gw.firewall.nftables.elements import Element, Slot
from upnp_gw.firewall.nftables.ruleset import FILLED, MAPS

ELEMENTS_PER_COMMAND = 150
"""Six commands of this size stay below 208 KiB, which any socket may send."""
COMMANDS_PER_PORTION = 6
"""One for each map that a home network fills."""


class ElementEdit(NamedTuple):
    """A change of one slot."""

    old: Element | None
    """The element that may be there; None: no element. With other data the kernel refuses the transaction."""
    new: Element | None

    @classmethod
    def renewing(cls, element: Element) -> "ElementEdit":
        return cls(element, element)


class ElementEdits:
    """The edits of one transaction."""

    def __init__(self) -> None:
        self._edits: dict[Slot, ElementEdit] = {}
        self._head: list[str] = []
        self.refilled = False
        """The transaction empties the maps of ``FILLED`` first."""

    def record(self, slot: Slot, old: Element | None, new: Element | None) -> None:
        """``old`` may be in the kernel; the one of an earlier edit of the slot in this transaction wins."""
        earlier = self._edits.get(slot)
        self._edits[slot] = ElementEdit(earlier.old if earlier is not None else old, new)

    def replace(self, slot: Slot, edit: ElementEdit) -> None:
        """Records an edit in place of any earlier one of the slot."""
        self._edits[slot] = edit

    def prepend(self, commands: str) -> None:
        """Commands that come before all edits."""
        self._head.append(commands)

    def empty_maps(self) -> None:
        """Begins a refill."""
        if not self.refilled:
            self._head += [f"flush {'map' if name in MAPS else 'set'} {TABLE} {name}" for name in FILLED]
        self._edits = {slot: edit for slot, edit in self._edits.items() if slot.map not in FILLED}
        self.refilled = True

    @property
    def commands(self) -> str:
        """One transaction: ``add``, ``delete``, ``add``. The first ``add`` restores an element that has expired, so
        that ``delete`` finds it.

        An ``add`` alone renews the timeout on recent kernels only; older ones ignore it without an error.
        """
        return "\n".join(self._lines())

    def portions(self) -> Iterator[str]:
        """A refill in several transactions, for a socket that cannot send it in one.

        The first transaction empties the maps and adds the first elements of every map, so some mappings are open
        at any moment. The elements of a forward in ``pm``, ``live`` and ``out`` go together.
        """
        seen: Counter[str] = Counter()

        def transaction(line: str) -> int:
            name = line.partition("{")[0]
            seen[name] += 1
            return seen[name]

        fill = sorted((line for line in self._lines() if line not in self._head), key=transaction)
        yield "\n".join([*self._head, *fill[:COMMANDS_PER_PORTION]])
        for at in range(COMMANDS_PER_PORTION, len(fill), COMMANDS_PER_PORTION):
            yield "\n".join(fill[at : at + COMMANDS_PER_PORTION])

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
        return [
            *self._head,
            *_command_lines("add", firsts),
            *_command_lines("delete", deletes),
            *_command_lines("add", adds),
        ]


def _command_lines(verb: str, elements: Mapping[str, Sequence[str]]) -> list[str]:
    """At most ``ELEMENTS_PER_COMMAND`` elements each. A transaction may be split between commands."""
    return [
        f"{verb} element {TABLE} {name} {{ {', '.join(keys[at : at + ELEMENTS_PER_COMMAND])} }}"
        for name, keys in elements.items()
        for at in range(0, len(keys), ELEMENTS_PER_COMMAND)
    ]
