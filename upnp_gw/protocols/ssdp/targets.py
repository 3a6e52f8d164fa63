"""The notify set (IGD section 2.1), and which of its rows answer a search (section 2.5).

With both IGD versions there are two root devices. A search for a type is answered by only one of them, whose
description the client can read. ``upnp:rootdevice`` is answered only by version 1: upnpy fails with two gateways,
and clients that search like this often know only version 1. ``ssdp:all`` is answered by both, because clients
filter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from upnp_gw.protocols.igd.description import RootDevice
from upnp_gw.protocols.igd_services import SERVICES, Level

ALL = "ssdp:all"
ROOT_DEVICE = "upnp:rootdevice"
TYPED = re.compile(r"(urn:schemas-upnp-org:(?:device|service):[A-Za-z0-9]+):([1-9][0-9]{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SsdpTarget:
    """A row of a notify set."""

    root: RootDevice
    nt: str
    """NT of an announcement, ST of an answer."""
    usn: str


def notify_set(root: RootDevice) -> tuple[SsdpTarget, ...]:
    """The complete set of a root device, in the order of the standard: three rows for the root, two for each
    embedded device, one for each service, each only in its highest version."""
    rows = [SsdpTarget(root, ROOT_DEVICE, f"{root.udns[Level.ROOT]}::{ROOT_DEVICE}")]
    for level in Level:
        udn, urn = root.udns[level], level.urn(root.igd_version)
        rows += [SsdpTarget(root, udn, udn), SsdpTarget(root, urn, f"{udn}::{urn}")]
    for service in SERVICES[root.igd_version]:
        rows.append(SsdpTarget(root, service.urn, f"{root.udns[service.level]}::{service.urn}"))
    return tuple(rows)


def matching_targets(st: str, roots: Sequence[RootDevice]) -> tuple[SsdpTarget, ...]:
    """The rows that answer a search, with the ST and USN of the answer; empty: no answer.

    ``roots``: from the lowest version to the highest. A search for a lower version is answered with that version in
    ST and USN (goupnp drops an answer with another ST); a search for a higher version is not answered.
    """
    rows = [row for root in roots for row in notify_set(root)]
    if st == ALL:
        return tuple(rows)
    if match := TYPED.fullmatch(st):
        return _typed(match[1], int(match[2]), rows)
    if st.startswith("uuid:"):
        return tuple(replace(row, nt=st) for row in rows if row.nt == st.lower())
    return tuple(row for row in rows if row.nt == st == ROOT_DEVICE)[:1]


def _typed(type_: str, version: int, rows: Sequence[SsdpTarget]) -> tuple[SsdpTarget, ...]:
    held = [
        (int(own_version), row)
        for row in rows
        for name, _, own_version in [row.nt.rpartition(":")]
        if name == type_
    ]
    able = [(own_version, row) for own_version, row in held if own_version >= version]
    if not able:
        return ()
    _, row = min(able, key=lambda pair: pair[0])
    udn, nt = row.usn.partition("::")[0], f"{type_}:{version}"
    return (replace(row, nt=nt, usn=f"{udn}::{nt}"),)
