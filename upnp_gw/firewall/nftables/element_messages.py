"""Edits of map elements as one batch of nfnetlink messages (linux/netfilter/nf_tables.h). Pure.

The messages are those that libnftables sends for the same nft commands. Only the number of the set is left out: it
matters for sets that the same batch makes.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

from upnp_gw.firewall.base import NAME
from upnp_gw.firewall.netlink import NFGEN_BYTES, NFPROTO_INET, SUBSYS_NFTABLES, nfgen_body
from upnp_gw.firewall.nftables.element_edits import Edits, Step
from upnp_gw.firewall.nftables.elements import Element, Slot
from upnp_gw.system.netlink import HEADER, NLA_F_NESTED, NLM_F_CREATE, NLM_F_REQUEST, attribute, build_message

BATCH_BEGIN, BATCH_END = 16, 17
NEW_ELEMENT, DELETE_ELEMENT = SUBSYS_NFTABLES << 8 | 12, SUBSYS_NFTABLES << 8 | 14
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
KEY, DATA, TIMEOUT, USERDATA, KEY_END = 1, 2, 4, 6, 10
DATA_VALUE = 1
COMMENT = 0
"""The type of a comment in an element's user data (libnftnl)."""
MARK = struct.pack("!BBH", 0, 0, SUBSYS_NFTABLES)
"""The body of a batch's first and last message: the subsystem that gets the batch."""

_ATTRIBUTE = struct.Struct("=HH")
_VALUE = struct.Struct("=HHHH")
_TIMEOUT = struct.Struct("=HH").pack(12, TIMEOUT)
_MILLISECONDS = struct.Struct("!Q")


def named(kind: int, name: str) -> bytes:
    """An attribute with a name."""
    return attribute(kind, name.encode("ascii") + b"\0")


@lru_cache(maxsize=256)
def _head(name: str) -> bytes:
    """The beginning of the body of a map's messages."""
    return nfgen_body(NFPROTO_INET, named(LIST_TABLE, NAME) + named(LIST_SET, name))


def batch_of(edits: Edits, own: Sequence[tuple[int, int, bytes]] = ()) -> list[bytes]:
    """The messages of one transaction. The place of each is its sequence number. ``own``: kind, flags and body of
    those that renew the sets of our own interfaces and addresses (``own_set_messages``)."""
    messages = [build_message(BATCH_BEGIN, NLM_F_REQUEST, 0, MARK)]
    for kind, flags, body in own:
        messages.append(build_message(kind, flags, len(messages), body))
    for name in edits.emptied:
        messages.append(build_message(DELETE_ELEMENT, NLM_F_REQUEST, len(messages), deleted_all(name)))
    for step in edits.steps:
        kind, flags = (NEW_ELEMENT, NLM_F_REQUEST | NLM_F_CREATE) if step.adds else (DELETE_ELEMENT, NLM_F_REQUEST)
        messages.append(build_message(kind, flags, len(messages), _list(step)))
    messages.append(build_message(BATCH_END, NLM_F_REQUEST, len(messages), MARK))
    return messages


def deleted_all(name: str) -> bytes:
    """The body of a message that deletes all elements of a map or set."""
    return nfgen_body(NFPROTO_INET, named(LIST_SET, name) + named(LIST_TABLE, NAME))


def element_list(name: str, bodies: Iterable[bytes]) -> bytes:
    """The body of a message with elements of a map or set: at most 64 KiB."""
    parts: list[bytes] = []
    for number, body in enumerate(bodies, 1):
        parts += (_ATTRIBUTE.pack(4 + len(body), number | NLA_F_NESTED), body)
    return _head(name) + attribute(LIST_ELEMENTS | NLA_F_NESTED, b"".join(parts))


def step_at(edits: Edits, sequence: int, own: int = 0) -> tuple[Step | None, str]:
    """The step of the message with this sequence number, and its map; None for a map that is emptied. ``own``: the
    number of messages about our own interfaces and addresses, which come first."""
    at = sequence - 1 - own
    if at < 0:
        return None, "the sets of interfaces and addresses"
    if at < len(edits.emptied):
        return None, edits.emptied[at]
    step = edits.steps[at - len(edits.emptied)]
    return step, step.map


def element_at(message: bytes, offset: int) -> int | None:
    """The place in its step of the element whose attribute starts at this offset; None: no element starts there."""
    at, place, lists = HEADER.size + NFGEN_BYTES, 0, False
    while at + 4 <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if lists and at == offset:
            return place
        place += lists
        if kind == LIST_ELEMENTS | NLA_F_NESTED and not lists:
            lists, at = True, at + 4
        else:
            at += (length + 3) & ~3
    return None


def _list(step: Step) -> bytes:
    make = _element if step.adds else _key
    parts = []
    for number, (slot, element) in enumerate(step.elements, 1):
        body = make(slot, element)
        parts.append(_ATTRIBUTE.pack(4 + len(body), number | NLA_F_NESTED))
        parts.append(body)
    body = b"".join(parts)
    return _head(step.map) + _ATTRIBUTE.pack(4 + len(body), LIST_ELEMENTS | NLA_F_NESTED) + body


def _element(slot: Slot, element: Element) -> bytes:
    body = _TIMEOUT + _MILLISECONDS.pack(element.timeout_s * 1000) + _key(slot, element)
    if element.data:
        body += valued(DATA, element.data)
    if element.comment:
        text = element.comment.encode("ascii") + b"\0"
        body += attribute(USERDATA, bytes((COMMENT, len(text))) + text)
    return body


def _key(slot: Slot, _: Element) -> bytes:
    key = valued(KEY, slot.key)
    return key + valued(KEY_END, slot.end) if slot.end else key


def valued(kind: int, value: bytes) -> bytes:
    """An attribute with a key or data."""
    length = len(value)
    padded = value + bytes(-length % 4)
    return _VALUE.pack(8 + len(padded), kind | NLA_F_NESTED, 4 + length, DATA_VALUE) + padded
