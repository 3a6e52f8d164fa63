"""The gateway reads other tables: it gives away no port that they use, and logs their drops once."""

import asyncio
import logging
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest

from tests.fixtures.gateway import NETWORK
from tests.fixtures.waiting import EVENT_S
from upnp_gw.engine.obstacles import Obstacles
from upnp_gw.engine.other_tables import OtherTables
from upnp_gw.engine.reserved_ports import ReservedPorts
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Transport

WEB = (Transport.TCP, 8080)
CHAIN = {"family": "ip", "table": "static", "name": "pre", "type": "nat", "hook": "prerouting", "policy": "accept"}
MATCH = {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 8080}
RULE = {
    "family": "ip",
    "table": "static",
    "chain": "pre",
    "expr": [{"match": MATCH}, {"dnat": {"addr": "10.0.0.1"}}],
}
GOOD = {"nftables": [{"chain": CHAIN}, {"rule": RULE}]}
ODD = {"nftables": [{"chain": CHAIN}, {"rule": {"family": "ip", "table": "static", "handle": 7}}]}


DROPPING = {
    "nftables": [
        {"chain": {**CHAIN, "table": "fw", "name": "fwd", "type": "filter", "hook": "forward", "policy": "drop"}}
    ]
}
OFFLOADING = {
    "nftables": [
        {"flowtable": {"family": "ip", "table": "fw", "name": "ft", "dev": ["wan0", "lan0"]}},
        {"chain": {**CHAIN, "table": "fw", "name": "fwd", "type": "filter", "hook": "forward"}},
        {
            "rule": {
                "family": "ip",
                "table": "fw",
                "chain": "fwd",
                "expr": [{"flow": {"op": "add", "flowtable": "@ft"}}],
            }
        },
    ]
}


class Reader:
    """Gives one listing after another."""

    def __init__(self, *listings: Any) -> None:
        self.listings = list(listings)

    async def read_ruleset(self) -> Any:
        listing = self.listings.pop(0)
        if isinstance(listing, Exception):
            raise listing
        return listing


@pytest.mark.spec("SR-24")
async def test_an_unreadable_listing_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    unreadable = ValueError("not UTF-8")
    others = OtherTables(lambda: NETWORK, Reader(GOOD, FirewallError("busy"), ODD, unreadable, {"nftables": []}))
    ports = ReservedPorts(frozenset, others)
    result = []
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            await others.refresh()
            result.append(ports().holds(*WEB))
    assert result == [True, True, True, True, False]
    assert ["read" in r.getMessage() for r in caplog.records] == [True, False, False]


@pytest.mark.spec("SR-24")
async def test_a_change_of_other_tables_is_read_at_once() -> None:
    reader = Reader(GOOD, {"nftables": []}, GOOD)
    changed = asyncio.Event()
    others = OtherTables(lambda: NETWORK, reader, changed=changed)
    judged = asyncio.Event()
    following = asyncio.create_task(others.follow(judged.set))
    try:
        for held in (True, False, True):
            for _ in range(100):  # a ruleset arrives as many events
                changed.set()
            async with asyncio.timeout(EVENT_S):
                await judged.wait()
            judged.clear()
            assert ReservedPorts(frozenset, others)().holds(*WEB) is held
    finally:
        following.cancel()


async def test_a_chain_that_drops_is_logged_once_and_when_it_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    others = OtherTables(lambda: NETWORK, Reader(DROPPING, DROPPING, GOOD, DROPPING))
    obstacles = Obstacles(lambda: NETWORK, others)
    shown = []
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            await others.refresh()
            obstacles.log_changes()
            shown.append([sentence.partition(";")[0] for sentence in obstacles.now()])
    dropped = "chain ip fw fwd of another firewall (policy drop) drops mapped traffic"
    assert shown == [[dropped], [dropped], [], [dropped]]
    logged = [(r.levelname, r.getMessage().startswith(dropped)) for r in caplog.records]
    assert logged == [("WARNING", True), ("INFO", False), ("WARNING", True)]
    assert caplog.records[1].getMessage().startswith(f"no longer: {dropped}")


async def test_a_flowtable_is_reported_with_its_effect() -> None:
    others = OtherTables(lambda: NETWORK, Reader(OFFLOADING, GOOD))
    obstacles = Obstacles(lambda: NETWORK, others)
    await others.refresh()
    (obstacle,) = obstacles.now()
    assert obstacle.startswith(
        "chain ip fw fwd of another firewall gives established flows to a fast path (flowtable ft"
    )
    await others.refresh()
    assert obstacles.now() == []


def test_an_external_address_that_is_not_public_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    networks = [NETWORK]
    obstacles = Obstacles(lambda: networks[-1], OtherTables(lambda: networks[-1]))
    with caplog.at_level(logging.WARNING):
        obstacles.log_changes()
        assert not caplog.records
        wan = replace(NETWORK.wan, addresses=(ip_interface("192.168.178.20/24"),))
        networks.append(replace(NETWORK, wan=wan, external=(wan.ipv4[0],)))
        obstacles.log_changes()
        obstacles.log_changes()
    (record,) = caplog.records
    assert "192.168.178.20 is not public (private (RFC 1918))" in record.getMessage()
