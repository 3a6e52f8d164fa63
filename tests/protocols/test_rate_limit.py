"""The token buckets: never more than burst and refill, and no source pays for another (SR-5, SR-11)."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.protocols.rate_limit import Rate, Throttle


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 900), st.floats(0, 3)), max_size=60))
def test_throttle_never_gives_more_than_burst_and_refill(asks: list[tuple[int, int, float]]) -> None:
    throttle = Throttle[IPv4Address](Rate(1000, 100), Rate(2000, 200), sources_max=3)
    now, total = 50.0, 0
    for host, count, later in asks:
        now += later
        if throttle.spend(IPv4Address(host), count, now):
            total += count
    assert total <= 2000 + (now - 50.0) * 200 + 1e-6


def test_the_sources_remembered_are_bounded_and_the_active_one_is_kept() -> None:
    throttle = Throttle[IPv4Address](Rate(1000, 1), Rate(1e6, 1), sources_max=8)
    greedy = IPv4Address(1)
    assert throttle.spend(greedy, 1000, 0.0)
    for forged in range(2, 1000):
        throttle.level(IPv4Address(forged), 0.0)
        assert not throttle.spend(greedy, 100, 0.0)
    assert len(throttle) <= 8


def test_throttle_of_one_source_leaves_the_others_alone() -> None:
    throttle = Throttle[IPv4Address](Rate(1000, 100), Rate(10_000, 1000))
    greedy, well_behaved = IPv4Address(1), IPv4Address(2)
    assert throttle.spend(greedy, 1000, 0.0)
    assert not throttle.spend(greedy, 1, 0.0)
    assert throttle.spend(well_behaved, 1000, 0.0)
    assert throttle.spend(greedy, 500, 5.0)
    assert not throttle.spend(greedy, 1, 5.0)
