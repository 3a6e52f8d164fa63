"""Runs of addresses in the interval sets of hosts, as batches of nfnetlink messages. Pure.

libnftables needs a kilobyte for each element, and reads such a set before every transaction. A run is two elements
for the kernel: its first address, and the one after its last, which has the flag ``INTERVAL_END``.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from upnp_gw.firewall.nftables.element_messages import (
    BATCH_BEGIN,
    BATCH_END,
    DELETE_ELEMENT,
    MARK,
    NEW_ELEMENT,
    element_list,
)
from upnp_gw.firewall.nftables.screens import host_sets
from upnp_gw.model.address_ranges import AddressRanges, Span
from upnp_gw.system.netlink import NLA_F_NESTED, NLM_F_CREATE, NLM_F_REQUEST, build_message

INTERVAL_END = 1
"""NFT_SET_ELEM_INTERVAL_END."""
RUNS_EACH = 750
"""Runs in one message: of IPv6 they are 63 KB, and an attribute holds 64 KiB."""
RUNS_TOGETHER = 6000
"""Runs in one transaction, about: a request need not wait for all of a list."""
_KEY = struct.Struct("=HHHH")
_END = struct.pack("=HH", 8, 3) + struct.pack("!I", INTERVAL_END)
BITS = {4: 32, 6: 128}


class Run(NamedTuple):
    """A run that is added or deleted. Sorts by its first address; one that is deleted comes first."""

    first: int
    adds: bool
    last: int


def changes(before: AddressRanges, now: AddressRanges, version: int) -> list[Run]:
    """The runs of a family to delete and to add, in order."""
    same, gone_most, new_most = before.differing(version, now)
    old, new = set(before.some_spans(version, same, gone_most)), set(now.some_spans(version, same, new_most))
    gone = (Run(first, False, last) for first, last in old - new)
    return sorted((*gone, *(Run(first, True, last) for first, last in new - old)))


def portions(runs: Iterable[Run], most: int = RUNS_TOGETHER) -> Iterator[list[Run]]:
    """The runs in transactions. Runs that overlap stay together: no address is in neither set meanwhile."""
    portion: list[Run] = []
    reached = -1
    for run in runs:
        if len(portion) >= most and run.first > reached:
            yield portion
            portion = []
        portion.append(run)
        reached = max(reached, run.last)
    if portion:
        yield portion


def batches(hosts: str, before: AddressRanges, now: AddressRanges) -> Iterator[list[bytes]]:
    """The messages of the transactions that bring the sets of these hosts from ``before`` to ``now``."""
    for version, name in zip((4, 6), host_sets(hosts), strict=True):
        for portion in portions(changes(before, now, version)):
            yield batch(name, version, portion)


def batch(name: str, version: int, runs: Sequence[Run]) -> list[bytes]:
    """The messages of one transaction. The place of each is its sequence number."""
    messages = [build_message(BATCH_BEGIN, NLM_F_REQUEST, 0, MARK)]
    for adds, kind, flags in ((False, DELETE_ELEMENT, 0), (True, NEW_ELEMENT, NLM_F_CREATE)):
        spans = [(run.first, run.last) for run in runs if run.adds is adds]
        for at in range(0, len(spans), RUNS_EACH):
            body = element_list(name, run_elements(version, spans[at : at + RUNS_EACH]))
            messages.append(build_message(kind, NLM_F_REQUEST | flags, len(messages), body))
    messages.append(build_message(BATCH_END, NLM_F_REQUEST, len(messages), MARK))
    return messages


def run_elements(version: int, spans: Iterable[Span]) -> Iterator[bytes]:
    """The bodies of the elements of these runs."""
    width, after_all = BITS[version] // 8, 1 << BITS[version]
    key = _KEY.pack(8 + width, 1 | NLA_F_NESTED, 4 + width, 1)
    for first, last in spans:
        yield key + first.to_bytes(width, "big")
        if last + 1 < after_all:
            yield _END + key + (last + 1).to_bytes(width, "big")
