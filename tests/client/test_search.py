"""Answers to the client's search: anybody on the LAN can send one."""

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address
from typing import Any

import pytest

from upnp_gw.client import igd
from upnp_gw.client.mapping_request import NoAnswer
from upnp_gw.client.route import GatewayRoute

GATEWAY = IPv4Address("192.168.77.1")
GOOD = f"http://{GATEWAY}:5000/igd2.xml"
WAY = GatewayRoute(GATEWAY, IPv4Address("192.168.77.20"), "eth0", 3)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The LOCATIONs that come back, in their order."""
    locations: list[str] = []

    async def search(answered: Callable[[Mapping[str, Any]], Awaitable[None]], **_: object) -> None:
        for location in locations:
            await answered({"location": location})

    monkeypatch.setattr(igd, "async_search", search)
    return locations


async def test_a_malformed_location_is_ignored(answers: list[str]) -> None:
    answers += ["http://[", "http://[::1", "http://router.lan/igd.xml", "", "\0", "http://192.168.77.9:80/x", GOOD]
    assert await igd._search(WAY, True, 4, 1) == GOOD


async def test_a_named_gateway_is_not_replaced_by_another_host(answers: list[str]) -> None:
    answers += ["http://192.168.77.9:80/x"]
    with pytest.raises(NoAnswer):
        await igd._search(WAY, True, 4, 1)
    assert await igd._search(WAY, False, 4, 1) == "http://192.168.77.9:80/x"
