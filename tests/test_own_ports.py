"""External ports that are not ours to give: what other tables are read to hold."""

import logging
from typing import Any

import pytest

from tests.house import NETWORK
from upnp_gw.errors import FirewallError
from upnp_gw.model import Transport
from upnp_gw.own_ports import OwnPorts

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


@pytest.mark.spec("SR-24")
async def test_what_cannot_be_read_or_understood_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    listings: list[Any] = [GOOD, FirewallError("busy"), ODD, {"nftables": []}]

    async def read() -> Any:
        listing = listings.pop(0)
        if isinstance(listing, Exception):
            raise listing
        return listing

    ports = OwnPorts(frozenset, lambda: NETWORK, read)
    told = []
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            await ports.refresh()
            told.append(ports().holds(*WEB))
    assert told == [True, True, True, False]
    assert ["read" in r.getMessage() for r in caplog.records] == [True, False]
