"""async-upnp-client's IgdDevice, which Home Assistant uses, against the server: a strict reader."""

from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError
from async_upnp_client.profiles.igd import IgdDevice

from tests.fixtures.fake_gateway import CLIENT, EXTERNAL
from tests.fixtures.http_client import HttpFixture, serving
from upnp_gw.protocols.igd_services import IgdVersion


async def device(fixture: HttpFixture, igd_version: IgdVersion) -> IgdDevice:
    factory = UpnpFactory(AiohttpRequester())
    root = await factory.async_create_device(f"http://127.0.0.1:{fixture.port}/{igd_version.value}.xml")
    return IgdDevice(root, None)


@pytest.mark.spec("IGD-110", "IGD-111", "IGD-120", "IGD-150", "IGD-156")
@pytest.mark.parametrize("igd_version", IgdVersion)
async def test_port_mappings(igd_version: IgdVersion) -> None:
    async with serving() as fixture:
        igd = await device(fixture, igd_version)
        anyone = IPv4Address("0.0.0.0")  # it cannot send an empty remote host
        await igd.async_add_port_mapping(anyone, 21000, "TCP", 21001, CLIENT, True, "a & b", timedelta(seconds=600))
        [mapping] = fixture.gateway.table
        assert mapping.key.remote is None
        entry = await igd.async_get_specific_port_mapping_entry(anyone, 21000, "TCP")
        assert entry is not None
        assert (entry.internal_port, entry.internal_client) == (21001, CLIENT)
        assert (entry.enabled, entry.description) == (True, "a & b")
        assert entry.lease_duration == timedelta(seconds=600)
        generic = await igd.async_get_generic_port_mapping_entry(0)
        assert generic is not None
        assert generic.external_port == 21000
        await igd.async_delete_port_mapping(anyone, 21000, "TCP")
        with pytest.raises(UpnpActionError) as caught:
            await igd.async_delete_port_mapping(anyone, 21000, "TCP")
        assert caught.value.error_code == 714


@pytest.mark.spec("IGD-100", "IGD-101", "IGD-102", "IGD-103", "IGD-104", "IGD-105")
@pytest.mark.parametrize("igd_version", IgdVersion)
async def test_polling(igd_version: IgdVersion) -> None:
    async with serving() as fixture:
        igd = await device(fixture, igd_version)
        for _ in range(5):
            state = await igd.async_get_traffic_and_status_data()
            assert (state.bytes_sent, state.bytes_received) == (11, 22)
            assert (state.packets_sent, state.packets_received) == (33, 44)
            assert state.external_ip_address == str(EXTERNAL)
        link = await igd.async_get_common_link_properties()
        assert link is not None
        assert (link.wan_access_type, link.physical_link_status) == ("Ethernet", "Up")
        nat = await igd.async_get_nat_rsip_status()
        assert nat is not None
        assert (nat.nat_enabled, nat.rsip_available) == (True, False)
