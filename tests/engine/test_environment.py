"""The host at an unknown address: looked up before its request is judged, and never for long."""

import asyncio
import errno
import os
from dataclasses import replace
from ipaddress import IPv6Interface, ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import (
    CONSOLE,
    CONSOLE_IP,
    NETWORK,
    PC,
    PC_IP,
    TWO_LANS,
    GatewayFixture,
    asks,
    gateway_fixture,
)
from upnp_gw.engine.environment import RESOLVE_MOST, RESOLVE_TARGETS
from upnp_gw.model.mapping import IPAddress, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, Refusal, Refused, Reply, Source

LAN = NETWORK.lans[0].networks[0]
NOBODY = [str(LAN[100 + n]) for n in range(RESOLVE_MOST + 40)]


class Silence:
    """Nobody answers, and that is not reported before ``over``."""

    def __init__(self, home: GatewayFixture) -> None:
        self.asked: list[IPAddress] = []
        self.over = asyncio.Event()
        home.lan_hosts.probe = self.resolve

    async def resolve(self, address: IPAddress, interface: str) -> bool:
        self.asked.append(address)
        await self.over.wait()
        return False


def refusals(replies: list[Reply]) -> set[Refusal]:
    return {reply.refusal for reply in replies if isinstance(reply, Refused)}


@pytest.mark.spec("SR-5", "SR-26")
async def test_datagrams_from_unused_addresses_open_nothing(tmp_path: Path) -> None:
    """However many at once: each would be a device of its own, with a quota of its own."""
    async with gateway_fixture(tmp_path) as home:
        silence = Silence(home)
        forged = [
            asyncio.ensure_future(home.map(8000 + n, client, via=Via.NATPMP)) for n, client in enumerate(NOBODY)
        ]
        beyond = await asyncio.gather(*forged[RESOLVE_MOST:])
        assert refusals(beyond) == {Refusal.ABSENT}
        assert len(silence.asked) == RESOLVE_MOST
        silence.over.set()
        assert refusals(await asyncio.gather(*forged)) == {Refusal.ABSENT}
        assert home.ports == set()
        await home.granted(9000)


async def test_unused_internal_clients_keep_no_requester_waiting(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        silence = Silence(home)
        calls = [asks(8000 + n, PC_IP, target=client) for n, client in enumerate(NOBODY)]
        wrong = [asyncio.ensure_future(home.gateway.handle(call)) for call in calls]
        beyond = await asyncio.gather(*wrong[RESOLVE_TARGETS:])
        assert not any(isinstance(reply, Granted) for reply in beyond)
        assert len(silence.asked) == RESOLVE_TARGETS
        home.around.neighbours.forget(ip_address(CONSOLE_IP), "lan0")
        late = asyncio.ensure_future(home.map(9000))
        await asyncio.sleep(0)
        assert silence.asked[-1] == ip_address(CONSOLE_IP), "it is looked for at once"
        silence.over.set()
        assert refusals([await late]) == {Refusal.ABSENT}
        assert not any(isinstance(reply, Granted) for reply in await asyncio.gather(*wrong))


@pytest.mark.parametrize(
    ("number", "ports"), [(errno.ENOBUFS, set()), (errno.ENOMEM, set()), (errno.EPERM, {(Transport.TCP, 8000)})]
)
async def test_where_the_kernel_does_not_ask(
    tmp_path: Path, number: int, ports: set[tuple[Transport, int]]
) -> None:
    """A neighbour table that somebody filled is no way to be taken for many devices."""
    async with gateway_fixture(tmp_path) as home:

        async def resolve(address: IPAddress, interface: str) -> bool:
            raise OSError(number, os.strerror(number))

        home.lan_hosts.probe = resolve
        await home.map(8000, NOBODY[0], via=Via.NATPMP)
        assert home.ports == ports


async def test_an_address_that_was_checked_lately_is_not_checked_for_each_request(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        checked: list[IPAddress] = []

        async def settle(address: IPAddress, interface: str) -> bool:
            checked.append(address)
            return True

        home.lan_hosts.settle = settle
        await home.granted(8000)
        assert checked == [ip_address(CONSOLE_IP)]
        home.lan_hosts.settled_lately = lambda address, lan: (address, lan) == (ip_address(CONSOLE_IP), "lan0")
        await home.granted(8001)
        assert checked == [ip_address(CONSOLE_IP)]
        await home.granted(8002, PC_IP)
        assert checked == [ip_address(CONSOLE_IP), ip_address(PC_IP)]


@pytest.mark.spec("SR-2")
@pytest.mark.parametrize("client", [PC_IP, CONSOLE_IP])
async def test_a_second_claim_opens_nothing_until_the_address_is_settled(tmp_path: Path, client: str) -> None:
    """By ARP alone the console's address is the PC's for a moment; the port would lead to the console after."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000)
        home.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP), PC, "lan0"))
        claimed = {(ip_address(CONSOLE_IP), "lan0")}
        home.lan_hosts.contested = lambda *place: place in claimed
        assert (await home.refused(9000, client, target=CONSOLE_IP)).refusal is Refusal.ABSENT
        assert home.ports == {(Transport.TCP, 8000)}
        await home.granted(9001, PC_IP)
        claimed.clear()
        await home.granted(9000, client, target=CONSOLE_IP)


async def test_a_claim_to_a_link_local_address_on_another_lan_has_no_effect(tmp_path: Path) -> None:
    """Two LANs can have the same one. A guest that is two hosts there must not keep a home device from asking."""
    local = ip_address("fe80::10")
    link = replace(TWO_LANS.lans[0], addresses=(*TWO_LANS.lans[0].addresses, IPv6Interface("fe80::1/64")))
    async with gateway_fixture(tmp_path, network=replace(TWO_LANS, lans=(link, TWO_LANS.lans[1]))) as home:
        home.around.neighbours.learn(Neighbour(local, CONSOLE, "lan0"))
        claimed: set[tuple[IPAddress, str]] = set()
        home.lan_hosts.contested = lambda *place: place in claimed
        for interface, refused in (("lan0", True), ("lan1", False)):
            claimed.clear()
            claimed.add((local, interface))
            request = replace(asks(8000, target=CONSOLE_IP), source=Source(local, "lan0"))
            reply = await home.gateway.handle(request)
            assert isinstance(reply, Refused) is refused, interface
