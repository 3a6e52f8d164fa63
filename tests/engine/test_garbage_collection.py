"""The rows of the ledger are set aside from the garbage collector, some hundred at a time."""

from tests.fixtures.mapping_rows import mapping
from upnp_gw.engine.garbage_collection import ROWS, GarbageCollection
from upnp_gw.ledger.events import Confirmed, TableChanged


def test_a_pass_comes_after_so_many_changed_rows() -> None:
    passes: list[None] = []
    collection = GarbageCollection(lambda: passes.append(None))
    one, other = mapping(1), mapping(1, 8081)
    for number in range(1, 4):
        for _ in range(ROWS - 2):
            collection.on_event(TableChanged(added=(one,)))
        collection.on_event(TableChanged(removed=((one, "deleted"),)))
        collection.on_event(TableChanged(changed=((one, other),)))
        assert len(passes) == number - 1
        collection.on_event(Confirmed(one, "renew", 0))
        assert len(passes) == number
