"""The WAN's bit rate as drivers report it, and a link that is not there."""

import pytest

from upnp_gw.system.wan_counters import ETHTOOL_CMD, WanCounters, parse_speed


@pytest.mark.parametrize(
    ("low", "high", "speed"),
    [
        (1000, 0, 1_000_000_000),
        (10, 0, 10_000_000),
        (100_000 & 0xFFFF, 100_000 >> 16, 100_000_000_000),
        (0, 0, None),
        (0xFFFF, 0, None),
        (0xFFFF, 0xFFFF, None),
    ],
)
def test_the_bit_rate_that_the_driver_reports(low: int, high: int, speed: int | None) -> None:
    assert ETHTOOL_CMD.size == 44
    assert parse_speed(ETHTOOL_CMD.pack(1, 0, 0, low, *(0,) * 8, high, 0, 0, 0)) == speed


@pytest.mark.spec("IGD-104")
def test_a_missing_link_has_no_traffic_and_an_assumed_rate() -> None:
    counters = WanCounters("nosuch0", lambda: 1.0)
    try:
        assert counters.wan_counters() == (0, 0, 0, 0)
        assert counters.wan_speed() == 100_000_000
    finally:
        counters.close()
