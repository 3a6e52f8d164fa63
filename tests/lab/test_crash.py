"""kill -9 between decision, kernel, store and reply, under sixteen clients: only acknowledged mappings remain."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.end_to_end import TCP
from tests.soak.daemon_with_faults import POINTS
from tests.soak.household import Household, household
from tests.soak.load import Load
from upnp_gw.lab.daemon import DaemonFailed
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Household]:
    with household(tmp_path) as home:
        yield home


@pytest.mark.spec("SR-20")
def test_twenty_kills_at_every_point_of_a_request_under_load(home: Household) -> None:
    load = Load(home)
    dice = random.Random(5)
    try:
        for kill in range(20):
            load.open()
            load.await_answers(dice.randrange(16, 64))
            point = POINTS[kill % len(POINTS)]
            home.daemon.fault("kill", point)
            assert home.daemon.died(20), f"{point} was not reached"
            load.shut()
            home.daemon.cure("kill")
            home.daemon.start()
            assert load.judge() == [], f"after a kill at {point!r}"
    finally:
        load.close()
    assert load.counts["granted"] > 100
    assert load.counts["denied"] > 20
    with EchoServer(home.console, TCP, 9999):
        home.point().add(9999)
        assert home.reach(9999), "and it goes on"


@pytest.mark.parametrize("point", ["decided", "kernel", "written", "stored"])
def test_a_kill_while_it_starts(home: Household, point: str) -> None:
    home.point().add(8080)
    home.daemon.kill()
    with home.daemon.faulty("kill", point), pytest.raises(DaemonFailed):
        home.daemon.start()
    home.daemon.start()
    assert home.disagreement() == ""
    assert [row["external_port"] for row in home.rows()] == [8080]
