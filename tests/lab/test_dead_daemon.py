"""The kernel ends leases and flows while nobody is there. The last file of the lab: the kernel's grace is long."""

import pytest

from tests.fixtures.waiting import until
from tests.lab.conftest import Orphan
from tests.lab.end_to_end import TCP, ended
from upnp_gw.lab.probe import REFUSED_S, reach

pytestmark = pytest.mark.lab

GRACE_S = 30 + 10
"""By so much a mapping outlives its lease in the kernel when nobody is there; and a loaded machine."""
LIVE_GRACE_S = 90 + 10
"""And its live flows."""


@pytest.mark.spec("SR-29", "SR-39")
def test_with_the_daemon_dead_the_kernel_ends_leases_and_live_flows(orphan: Orphan) -> None:
    """It was killed before the first test of the run; a lease of seconds ends by the kernel's own clock."""
    home = orphan.home
    assert not home.daemon.running
    assert until(lambda: home.shut(8080), orphan.left(GRACE_S))
    assert home.reach(8081).answered_by == "console", "a longer lease goes on"
    server = home.lab.hosts["server"]
    for own_address in (home.console.address6, server.address, server.address6):
        assert not reach(home.peer, TCP, own_address, 8080, timeout=REFUSED_S)
        assert reach(home.peer, TCP, own_address, 8081)
    assert until(lambda: all(map(ended, orphan.calls)), orphan.left(LIVE_GRACE_S))
    assert all(call.ask() for call in orphan.longer), "and so do its flows"
