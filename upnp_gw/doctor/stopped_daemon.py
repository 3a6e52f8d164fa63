"""The proof about the kernel while no daemon runs: leases go on in it, and the ledger is in the store.

The kernel's timeouts are compared with the ends of the leases: when the gateway would look at a mapping next is not
in the store.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path

from upnp_gw.config.interface_detection import Interface, read_interfaces
from upnp_gw.config.settings import Config
from upnp_gw.engine.environment import served_network
from upnp_gw.engine.kernel_proof import Answer, compare, openings_of
from upnp_gw.engine.policy_files import APPROVED, PolicyFiles
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.nftables.state import LIVE_GRACE_S
from upnp_gw.firewall.openings.path import Place
from upnp_gw.firewall.openings.reading import read_kernel
from upnp_gw.ledger.leases import END_GRACE_S, RENEWAL_GRACE_S
from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Instant
from upnp_gw.model.network import Link, Network
from upnp_gw.store.mapping_rows import UnreadableMapping, cut_of_row, load_mappings
from upnp_gw.system.clock import boot_id, clock

DATABASE = "ledger.db"
CARRIED_S = END_GRACE_S + RENEWAL_GRACE_S + LIVE_GRACE_S
"""Seconds after the end of a mapping until the kernel drops its flows, at the latest."""


def prove_stopped(config: Config) -> Answer:
    """Reads the store, the policy and the kernel. Raises ConfigError, FirewallError, StoreError."""
    now = clock()
    network = network_now(config)
    table, cuts = _stored(config.state_dir / DATABASE, now)
    files = PolicyFiles(config.policy, config.state_dir / APPROVED, lambda: now.wall)
    openings = openings_of(table, cuts, now)
    proof = compare(read_kernel(Session(), Place.of(network)), openings, network, files.load().policy)
    return Answer(proof, openings.active)


def network_now(config: Config) -> Network:
    """The served network, as the daemon would see it."""
    links: dict[str, Interface] = {link.name: link for link in read_interfaces()[0]}
    wan: Link = links.get(config.wan) or Link(config.wan, 0, False)
    lans: Sequence[Link] = [links.get(name) or Link(name, 0, False) for name in config.lan]
    external = config.external_addresses or tuple(a for a in wan.ipv4 if not (a.is_link_local or a.is_loopback))
    routed = tuple(config.routed)
    network = Network(wan, tuple(lans), routed, ("",) * len(routed), external=tuple(external))
    return served_network(network, config)


def _stored(path: Path, now: Instant) -> tuple[MappingTable, list[PendingCut]]:
    """The rows of the store. A mapping ends with its last lease; the kernel carries its flows a little longer."""
    table = MappingTable()
    if not path.exists():
        return table, []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            rows, _ = load_mappings(db, boot_id(), now)
            cuts = [cut_of_row(values, now) for values in db.execute("SELECT * FROM cuts ORDER BY id")]
    except (sqlite3.Error, UnreadableMapping) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    for row in rows:
        left_s = row.mapping.until - now.boot if row.mapping.holds else -inf
        if left_s > -CARRIED_S:
            ended = row.mapping.parked or left_s <= 0
            table.put(replace(row.mapping, recheck_at=row.mapping.until, parked=ended), row.number)
    return table, cuts
