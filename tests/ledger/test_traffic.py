"""The traffic of ports over two days: slots, bounds, and the changes for the store."""

import pytest

from upnp_gw.ledger import traffic
from upnp_gw.ledger.evidence import EvidenceKey
from upnp_gw.ledger.traffic import SLOT_S, SLOTS, TrafficHistory, slot_of
from upnp_gw.model.mapping import Transport

WALL = 1_800_000_000.0
PORT = EvidenceKey("00:11:32:00:00:02", Transport.TCP, 4, 443)
OTHER = PORT._replace(port=80)


def test_bytes_go_to_the_slot_of_their_time_and_old_slots_leave() -> None:
    history = TrafficHistory()
    history.add(PORT, WALL, 100)
    history.add(PORT, WALL + 1, 50)
    history.add(PORT, WALL + SLOT_S, 7)
    assert history.of(PORT, WALL + SLOT_S)[-3:] == [0, 150, 7]
    assert history.of(OTHER, WALL) == [0] * SLOTS
    later = WALL + SLOTS * SLOT_S
    assert history.of(PORT, later)[0] == 7
    for step in range(2, 2 * SLOTS):
        history.add(PORT, WALL + step * SLOT_S, 1)
    assert len(history._ports[PORT]) == SLOTS
    assert history.of(PORT, WALL + (2 * SLOTS - 1) * SLOT_S) == [1] * SLOTS


def test_the_changes_are_those_since_the_last_ones_and_come_again_after_an_error() -> None:
    history = TrafficHistory()
    assert history.pop_changes(WALL) is None
    history.add(PORT, WALL, 100)
    history.add(OTHER, WALL, 1)
    changes = history.pop_changes(WALL)
    assert changes is not None
    assert changes.slots == [(OTHER, slot_of(WALL), 1), (PORT, slot_of(WALL), 100)]
    assert changes.oldest == slot_of(WALL) - SLOTS + 1
    assert history.pop_changes(WALL) is None
    history.put_back(changes)
    history.add(PORT, WALL, 5)
    again = history.pop_changes(WALL)
    assert again is not None
    assert again.slots == [(OTHER, slot_of(WALL), 1), (PORT, slot_of(WALL), 105)]
    gone = history.pop_changes(WALL + SLOTS * SLOT_S)
    assert gone is not None
    assert gone.gone == [OTHER, PORT]


def test_the_port_without_traffic_for_the_longest_time_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MOST_PORTS", 2)
    history = TrafficHistory()
    for port in (PORT, OTHER, PORT, PORT._replace(port=22)):
        history.add(port, WALL, 1)
    changes = history.pop_changes(WALL)
    assert changes is not None
    assert changes.gone == [OTHER]
    assert len(changes.slots) == 2


def test_what_is_loaded_goes_on() -> None:
    history = TrafficHistory()
    old = slot_of(WALL) - SLOTS
    history.load([(OTHER, old, 9), (PORT, slot_of(WALL), 100)], WALL)
    assert history.pop_changes(WALL) is None
    history.add(PORT, WALL, 1)
    assert history.of(PORT, WALL)[-1] == 101
    assert sum(history.of(OTHER, WALL)) == 0


def test_the_traffic_of_a_renamed_device_goes_on() -> None:
    """Two stored ports that are one now are added up, and the next changes rename them on disk."""
    old = PORT._replace(device="192.168.1.5")
    names = {"192.168.1.5": PORT.device}
    history, last = TrafficHistory(), slot_of(WALL)
    rows = [(old, last - 1, 7), (OTHER, last, 1), (old, last, 9), (PORT, last, 100)]
    history.load(rows, WALL, lambda device: names.get(device, device))
    assert history.of(PORT, WALL)[-2:] == [7, 109]
    assert history.of(old, WALL) == [0] * SLOTS
    changes = history.pop_changes(WALL)
    assert changes is not None
    assert changes.slots == [(PORT, last - 1, 7), (PORT, last, 109)]
    assert changes.gone == [old]
