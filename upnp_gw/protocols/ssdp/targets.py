"""What is announced and what a search finds: the notify set (IGD section 2.1) and ST matching (section 2.5).

With both faces served there are two root devices. Every typed search is answered by exactly one of them, the one
whose description the client can read; ``upnp:rootdevice`` by the lowest alone (upnpy takes two gateways for an
error, and clients that search so often know version 1 only); ``ssdp:all`` by both (clients filter).
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
    """One row of a notify set."""

    root: RootDevice
    nt: str
    """NT of an announcement, ST of an answer."""
    usn: str


def notify_set(root: RootDevice) -> tuple[SsdpTarget, ...]:
    """The complete set of a root device, in the order of the table: three for the root, two for each embedded
    device, one for each service, each at its highest version only."""
    rows = [SsdpTarget(root, ROOT_DEVICE, f"{root.udns[Level.ROOT]}::{ROOT_DEVICE}")]
    for level in Level:
        udn, urn = root.udns[level], level.urn(root.igd_version)
        rows += [SsdpTarget(root, udn, udn), SsdpTarget(root, urn, f"{udn}::{urn}")]
    for service in SERVICES[root.igd_version]:
        rows.append(SsdpTarget(root, service.urn, f"{root.udns[service.level]}::{service.urn}"))
    return tuple(rows)


def matching_targets(st: str, roots: Sequence[RootDevice]) -> tuple[SsdpTarget, ...]:
    """The rows that answer a search, with ST and USN as the answer carries them; empty: stay silent.

    ``roots`` from the lowest version to the highest. A version below ours is answered with the version asked
    for, in ST and USN (goupnp drops an answer whose ST is another); one above ours not at all.
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
    held = [(int(ours), row) for row in rows for name, _, ours in [row.nt.rpartition(":")] if name == type_]
    able = [(ours, row) for ours, row in held if ours >= version]
    if not able:
        return ()
    _, row = min(able, key=lambda pair: pair[0])
    udn, nt = row.usn.partition("::")[0], f"{type_}:{version}"
    return (replace(row, nt=nt, usn=f"{udn}::{nt}"),)
