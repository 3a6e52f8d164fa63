"""Every attack of a LAN host in its short form: whoever behaves well beside it still gets every answer, soon.

The long form, with figures: ``python -m tests.bench.bench_attack``.
"""

from collections.abc import Iterator

import pytest

from tests.lab.attacks import ATTACKS
from tests.lab.end_to_end import ROUTER, Home, served_home
from tests.lab.well_behaved_client import WellBehavedClient, attacked, memory_kb
from upnp_gw.store.schema import CHECKPOINT_PAGES

pytestmark = pytest.mark.lab

SECONDS = 2.0
COUNT = 10_000
SOON_S = 2.5
"""For the slowest answer but one in a hundred, on two loaded cores: none waited for the attack to end."""
GROWN_KB = 16 * 1024
PAGE = 4096
LOG_BYTES = (CHECKPOINT_PAGES + 1000) * PAGE
"""The most that SQLite's log may have: what starts a checkpoint, and one commit more. It never becomes shorter."""
STORED_BYTES = 6 * 1024 * 1024
"""The most that one attack may add to the database file. On a slow machine ``changes`` adds 0.7 MiB: 300 decisions
and their mappings."""


@pytest.fixture(scope="module")
def home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER) as home:
        WellBehavedClient(home).ask(10)
        yield home


@pytest.mark.spec("SR-5", "SR-8", "SR-11", "SR-22", "SR-23")
@pytest.mark.parametrize("name", ATTACKS)
def test_a_well_behaved_client_is_served_during_the_attack(home: Home, name: str) -> None:
    database = home.daemon.state_dir / "ledger.db"
    before, stored = memory_kb(home.daemon.pid), database.stat().st_size
    well_behaved = WellBehavedClient(home)
    with attacked(home, name, SECONDS, COUNT) as attack:
        well_behaved.ask(while_=lambda: attack.poll() is None)
        assert attack.stdout is not None
        assert int(attack.stdout.read()) > 100, "that was no attack"
    assert not well_behaved.unanswered
    assert max(map(well_behaved.p99, well_behaved.times)) < SOON_S
    assert memory_kb(home.daemon.pid) - before < GROWN_KB
    assert database.stat().st_size - stored < STORED_BYTES
    others = [path for path in home.daemon.state_dir.iterdir() if path != database]
    assert sum(path.stat().st_size for path in others) < LOG_BYTES
    assert not [line for line in home.daemon.output if "Traceback" in line or "could not be answered" in line]
    home.agree()
