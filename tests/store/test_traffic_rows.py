"""The traffic of ports on disk: written, read, deleted."""

import sqlite3

from upnp_gw.ledger.evidence import EvidenceKey
from upnp_gw.ledger.traffic import TrafficChanges
from upnp_gw.model.mapping import Transport
from upnp_gw.store.traffic_rows import SCHEMA, load_traffic, write_traffic

PORT = EvidenceKey("00:11:32:00:00:02", Transport.UDP, 6, 3074)
OTHER = PORT._replace(device="192.168.1.5")


def test_slots_are_replaced_and_old_ones_and_ports_that_are_gone_are_deleted() -> None:
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    write_traffic(db, TrafficChanges([(PORT, 10, 1), (PORT, 11, 2), (OTHER, 10, 3)], [], 0))
    write_traffic(db, TrafficChanges([(PORT, 11, 5)], [], 0))
    assert load_traffic(db) == [(PORT, 10, 1), (OTHER, 10, 3), (PORT, 11, 5)]
    write_traffic(db, TrafficChanges([], [OTHER], 0))
    write_traffic(db, TrafficChanges([(PORT, 12, 6)], [], 11))
    assert load_traffic(db) == [(PORT, 11, 5), (PORT, 12, 6)]
    db.close()
