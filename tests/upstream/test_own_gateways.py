"""The client against our own gateway: the emulator, over each protocol, and as every kind of router."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.fixtures.gateway_above import EVERY, OUTSIDE, OWN, REQUEST, SeenEvents, asking, network_of
from tests.fixtures.waiting import async_until
from upnp_gw.model.above import AboveGranted, AboveRefused, AboveSilent
from upnp_gw.model.mapping import Endpoint, Via
from upnp_gw.model.request import Refusal
from upnp_gw.testing import Emulator
from upnp_gw.testing.personalities import PERSONALITIES
from upnp_gw.upstream import GatewayAboveClient

LONG_S = 15.0
"""Of an answer that comes at once, also on a busy machine."""
GRANTED = Endpoint(OUTSIDE, 8080)
ORDERS = [(Via.PCP,), (Via.NATPMP,), (Via.IGD2,)]


@asynccontextmanager
async def above(
    vias: tuple[Via, ...] = EVERY, **options: Any
) -> AsyncIterator[tuple[Emulator, GatewayAboveClient, SeenEvents]]:
    async with (
        Emulator(**{"frozen": False, **options}) as igd,
        asking(IPv4Address(igd.gateway_address), vias) as (client, events),
    ):
        yield igd, client, events


@pytest.mark.parametrize("vias", ORDERS, ids=str)
async def test_granted_renewed_released(vias: tuple[Via, ...]) -> None:
    async with above(vias) as (igd, client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveGranted)
        assert (found.via, found.external, found.lifetime_s) == (vias[0], GRANTED, 3600)
        row = igd.mappings.one()
        assert (row.internal_client, row.internal_port, row.external_port) == (str(OWN), 8080, 8080)
        renewal = replace(REQUEST, external=found.external, via=found.via, lifetime_s=1800)
        assert await client.ask(renewal, LONG_S) == replace(found, lifetime_s=1800)
        assert len(igd.mappings) == 1
        assert await client.release(renewal, LONG_S) is None
        assert not igd.mappings
        assert await client.release(renewal, LONG_S) is None, "there is none any more"


@pytest.mark.parametrize("vias", ORDERS, ids=str)
async def test_another_port_or_a_conflict(vias: tuple[Via, ...]) -> None:
    """The port is another host's: a suggestion becomes another port, an exact request a refusal."""
    async with above(vias) as (igd, client, _):
        other = IPv4Address("127.0.80.3")
        async with asking(IPv4Address(igd.gateway_address), vias, network_of(other)) as (holder, _):
            taken = replace(REQUEST, internal=Endpoint(other, 8080))
            assert isinstance(await holder.ask(taken, LONG_S), AboveGranted)
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveGranted)
        assert found.external.port != 8080
        assert await client.release(replace(REQUEST, external=found.external, via=found.via), LONG_S) is None
        exact = await client.ask(replace(REQUEST, exact=True), LONG_S)
        assert isinstance(exact, AboveRefused)
        assert exact.refusal is Refusal.CONFLICT
        await async_until(lambda: len(igd.mappings) == 1)


@pytest.mark.parametrize("vias", ORDERS, ids=str)
async def test_a_release_of_what_it_does_not_know_ends_our_own_alone(vias: tuple[Via, ...]) -> None:
    """As after a restart: the protocol is not known. Another host's mapping with that port stays."""
    other = IPv4Address("127.0.80.3")
    async with above(vias) as (igd, client, _):
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        async with asking(IPv4Address(igd.gateway_address), EVERY) as (restarted, _):
            assert await restarted.release(REQUEST, LONG_S) is None
        assert not igd.mappings
        async with asking(IPv4Address(igd.gateway_address), vias, network_of(other)) as (holder, _):
            taken = replace(REQUEST, internal=Endpoint(other, 8080))
            assert isinstance(await holder.ask(taken, LONG_S), AboveGranted)
        async with asking(IPv4Address(igd.gateway_address), EVERY) as (restarted, _):
            assert await restarted.release(REQUEST, LONG_S) is None
        assert igd.mappings.one().internal_client == str(other)


async def test_pcp_comes_first_and_natpmp_where_there_is_none() -> None:
    async with above() as (_, client, _):
        assert isinstance(found := await client.ask(REQUEST, LONG_S), AboveGranted)
        assert found.via is Via.PCP
    async with above(personality="natpmp-only") as (_, client, _):
        assert isinstance(found := await client.ask(REQUEST, LONG_S), AboveGranted)
        assert found.via is Via.NATPMP


DENY = 'version = 1\ndefault = "deny"\n'


@pytest.mark.parametrize("vias", ORDERS, ids=str)
async def test_its_policy_refuses(vias: tuple[Via, ...]) -> None:
    async with above(vias, policy=DENY) as (igd, client, _):
        found = await client.ask(REQUEST, LONG_S)
        assert isinstance(found, AboveRefused)
        assert found.refusal is Refusal.NOT_AUTHORIZED
        assert found.reason == f"the gateway above at {igd.gateway_address} refused: it does not allow it"


@pytest.mark.parametrize("vias", ORDERS, ids=str)
async def test_a_reboot_is_noticed(vias: tuple[Via, ...]) -> None:
    async with above(vias, multicast=True) as (igd, client, events):
        await igd.advance(hours=1)
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        await igd.reboot()
        if vias != (Via.IGD2,):  # the emulator announces itself by SSDP alone: the next answer has the epoch
            assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        await async_until(lambda: events.losses == 1)
        assert isinstance(await client.ask(REQUEST, LONG_S), AboveGranted)
        assert igd.mappings.one(external_port=8080)


REFUSED = {
    "accepts-and-forgets": Refusal.TABLE_FULL,
    "no-external-address": Refusal.NO_EXTERNAL_ADDRESS,
    "unspecified-external-address": Refusal.NO_EXTERNAL_ADDRESS,
}
SILENT = {"no-ssdp", "rootdevice-search-only", "natpmp-only"}
"""Kinds of routers whose IGD cannot be found. Over PCP and NAT-PMP they can be asked."""


@pytest.mark.parametrize("personality", PERSONALITIES)
async def test_every_kind_of_router_over_igd(personality: str) -> None:
    """Granted, renewed, released; or a typed refusal in time."""
    async with above((Via.IGD2,), personality=personality) as (igd, client, _):
        request = replace(REQUEST, exact=personality == "accepts-and-forgets")  # it forgets AddPortMapping alone
        found = await client.ask(request, 1.5 if personality in SILENT else LONG_S)
        if personality in SILENT:
            assert isinstance(found, AboveSilent), found
            return
        if personality in REFUSED:
            assert isinstance(found, AboveRefused), found
            assert found.refusal is REFUSED[personality]
            return
        assert isinstance(found, AboveGranted), found
        row = igd.mappings.one(internal_port=8080)
        assert row.external_port == found.external.port
        renewal = replace(REQUEST, external=found.external, via=found.via)
        again = await client.ask(renewal, LONG_S)
        assert isinstance(again, AboveGranted), again
        assert again.external == found.external
        assert await client.release(renewal, LONG_S) is None
        assert not igd.mappings.find(internal_port=8080) or personality == "full-table-says-success"
