"""Packets that the kernel dropped over a host's share are counted once, and logged once a minute."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.gateway import gateway_fixture
from upnp_gw.engine.over_share import OverShareLog
from upnp_gw.firewall.base import OverShare

PC = OverShare("lan0", "3c:52:82:00:00:02", 5351, 100)


def test_a_flood_is_logged_once_a_minute_and_counted_in_full() -> None:
    log = OverShareLog()
    assert log.take([PC], 0.0) == [
        "3c:52:82:00:00:02 on lan0 sends more than its share to UDP port 5351:"
        " 100 packets dropped in the kernel so far"
    ]
    assert log.take([replace(PC, packets=250)], 10.0) == []
    (line,) = log.take([replace(PC, packets=400)], 60.0)
    assert "400 packets" in line
    assert log.take([replace(PC, packets=400)], 200.0) == [], "it has stopped"
    assert log.counts() == {"over share UDP port 5351": 400}


def test_each_host_lan_and_port_has_its_own_message() -> None:
    log = OverShareLog()
    hosts = [PC, replace(PC, interface="lan1"), replace(PC, mac="02:00:00:00:00:01"), replace(PC, port=5000)]
    assert len(log.take(hosts, 0.0)) == 4
    assert log.dropped == {"UDP port 5351": 300, "TCP port 5000": 100}


def test_where_the_kernel_began_anew_nothing_is_lost() -> None:
    log = OverShareLog()
    log.take([PC], 0.0)
    log.take([], 70.0)
    log.take([replace(PC, packets=30)], 80.0)
    log.take([replace(PC, packets=10)], 160.0)
    assert log.dropped == {"UDP port 5351": 140}


async def test_the_operator_is_warned_with_the_next_counters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway_fixture(tmp_path) as fixture:
        fixture.firewall.over_share = (PC,)
        for _ in range(2):
            await fixture.usage_reader.count()
        (record,) = [record for record in caplog.records if "share" in record.getMessage()]
        assert record.levelno == logging.WARNING
        assert fixture.usage_reader.over_share.counts() == {"over share UDP port 5351": 100}
