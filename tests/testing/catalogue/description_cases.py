"""Descriptions and discovery."""

import asyncio
import re
import socket
import struct

import pytest
from async_upnp_client.exceptions import UpnpError

from tests.testing.catalogue.cases import shows
from tests.testing.catalogue.clients import ControlPoint, fields_of, get, raw, search
from upnp_gw.testing import Emulator

IP = "WANIPConnection"
GROUP = "239.255.255.250"


async def description(igd: Emulator, location: str = "") -> str:
    return (await get(location or igd.location))[1].decode()


def element(xml: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", xml)
    assert found, f"no {name}"
    return found[1]


async def works(igd: Emulator, location: str = "") -> None:
    """A real client finds its way through the description to a mapping."""
    point = await ControlPoint.at(location or igd.location)
    await point.add(8080)
    assert igd.mappings.one().external_port == 8080
    assert await point.listed() == [8080]


@shows("spaces-in-urls")
async def spaces_in_urls() -> None:
    with Emulator() as igd:
        igd.fault("spaces-in-urls")
        assert element(await description(igd), "controlURL").startswith("/my router/")
        await works(igd)
        assert igd.requests.of("AddPortMapping").one().path.startswith("/my%20router/")


@shows("spaces-around-urls")
async def spaces_around_urls() -> None:
    with Emulator() as igd:
        igd.fault("spaces-around-urls")
        url = element(await description(igd), "controlURL")
        assert url != url.strip()
        assert igd.external_address.encode() in await raw(igd, path=url.strip().replace("Layer3Forwarding", IP))
        with pytest.raises(UpnpError):
            await ControlPoint.at(igd.location)


@shows("url-base")
async def url_base() -> None:
    with Emulator(versions=(1,)) as igd:
        igd.fault("url-base")
        xml = await description(igd)
        base, relative = element(xml, "URLBase"), element(xml, "controlURL")
        assert not relative.startswith("/")
        assert (await get(igd.location.rpartition("/")[0] + "/" + relative, "POST"))[0] == 404
        assert (await get(base + relative, "POST"))[0] in (400, 415)
        await works(igd, base + "igd1.xml")
        assert igd.requests.of("AddPortMapping").one().path.startswith("/base/")


@shows("url-base-without-port")
async def url_base_without_port() -> None:
    with Emulator() as igd:
        igd.fault("url-base-without-port")
        xml = await description(igd)
        assert element(xml, "URLBase") == f"http://{igd.gateway_address}"
        assert element(xml, "controlURL").startswith(igd.location.rpartition("/")[0])
        await works(igd)


@shows("upper-case-udn")
async def upper_case_udn() -> None:
    with Emulator(versions=(1,)) as igd:
        igd.fault("upper-case-udn")
        udn = element(await description(igd), "UDN")
        [answer] = await search(igd)
        told = answer["USN"].partition("::")[0]
        assert (udn != told, udn.lower()) == (True, told)
        await works(igd)


@shows("second-connection-down")
async def second_connection_down() -> None:
    with Emulator() as igd:
        igd.fault("second-connection-down")
        xml = await description(igd)
        assert len(set(re.findall("<UDN>([^<]*)", xml))) == 4
        down, up = re.findall(f"<controlURL>([^<]*/{IP})</controlURL>", xml)
        assert b">Disconnected<" in await raw(igd, "GetStatusInfo", path=down)
        assert b">Connected<" in await raw(igd, "GetStatusInfo", path=up)
        assert b"<NewExternalIPAddress></NewExternalIPAddress>" in await raw(igd, path=down)
        assert igd.external_address.encode() in await raw(igd, path=up)
        assert b"<errorCode>501<" in await raw(igd, "AddPortMapping", path=down)
        assert [request.path for request in igd.requests.of("GetStatusInfo")] == [down, up]


@shows("server-field")
async def server_field() -> None:
    with Emulator() as igd:
        igd.fault("server-field", value="Router/9")
        assert b"\r\nSERVER: Router/9\r\n" in await raw(igd)


@shows("ppp-connection")
async def ppp_connection() -> None:
    with Emulator(versions=(1,)) as igd:
        igd.fault("ppp-connection")
        assert re.search("serviceType>.*WANIP|serviceId>.*WANIP", await description(igd)) is None
        point = await ControlPoint.at(igd.location)
        [service] = point.with_action("AddPortMapping")
        assert service.service_type == "urn:schemas-upnp-org:service:WANPPPConnection:1"
        await works(igd)
        assert b"<u:AddPortMappingResponse" in igd.requests.of("AddPortMapping").one().sent
        assert b"WANIPConnection" not in igd.requests.of("AddPortMapping").one().sent
        assert b"401" in await raw(igd, version=1)
        [answer] = await search(igd, "urn:schemas-upnp-org:service:WANPPPConnection:1")
        assert answer["ST"].endswith("WANPPPConnection:1")
        assert await search(igd, "urn:schemas-upnp-org:service:WANIPConnection:1", wait_s=0.3) == []


@shows("answered-twice")
async def answered_twice() -> None:
    with Emulator(versions=(1,)) as igd:
        assert len(await search(igd, wait_s=0.3, most=3)) == 1
        igd.fault("answered-twice")
        first, second = await search(igd, most=2)
        assert first == second


@shows("wrong-location")
async def wrong_location() -> None:
    with Emulator(versions=(1,)) as igd:
        igd.fault("wrong-location")
        [answer] = await search(igd)
        assert f"{igd.gateway_address}:9/" in answer["LOCATION"]
        with pytest.raises(UpnpError):
            await ControlPoint.at(answer["LOCATION"])


@shows("location-in-other-subnet")
async def location_in_other_subnet() -> None:
    with Emulator(versions=(1,)) as igd:
        igd.fault("location-in-other-subnet", address="192.168.100.1")
        [answer] = await search(igd)
        assert answer["LOCATION"] == igd.location.replace(igd.gateway_address, "192.168.100.1")


@shows("location-of-version-2")
async def location_of_version_2() -> None:
    with Emulator() as igd:
        igd.fault("location-of-version-2")
        [answer] = await search(igd, "urn:schemas-upnp-org:device:InternetGatewayDevice:1")
        assert answer["ST"].endswith("InternetGatewayDevice:1")
        assert "InternetGatewayDevice:2" in await description(igd, answer["LOCATION"])


@shows("other-udn-in-ssdp")
async def other_udn_in_ssdp() -> None:
    with Emulator(versions=(1,)) as igd:
        igd.fault("other-udn-in-ssdp")
        [answer] = await search(igd)
        assert answer["USN"] == "uuid:upnp-InternetGatewayDevice-1_0::upnp:rootdevice"
        assert "upnp-InternetGatewayDevice" not in await description(igd)


@shows("rootdevice-search-only")
async def rootdevice_search_only() -> None:
    with Emulator(versions=(1,)) as igd:
        target = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
        assert len(await search(igd, target)) == 1
        igd.fault("rootdevice-search-only")
        assert await search(igd, target, wait_s=0.3) == []
        assert len(await search(igd)) == 1


@shows("byebye")
async def byebye() -> None:
    with Emulator() as igd, pytest.raises(ValueError, match="multicast=True"):
        igd.fault("byebye")
    with Emulator(multicast=True) as igd, announcements() as sock:
        usn = f"{element(await description(igd, igd.location_v1), 'UDN')}::upnp:rootdevice"
        igd.fault("byebye")
        said = await asyncio.to_thread(next_announcement, sock, usn, "ssdp:byebye")
        assert "LOCATION" not in said
        igd.reboot(keep_mappings=True)
        again = await asyncio.to_thread(next_announcement, sock, usn, "ssdp:alive")
        assert again["LOCATION"] == igd.location_v1
        assert int(again["BOOTID.UPNP.ORG"]) > int(said["BOOTID.UPNP.ORG"])


def announcements() -> socket.socket:
    """A listener to the multicast group on the loopback."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((GROUP, 1900))
    join = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton("127.0.0.1"))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
    sock.settimeout(10)
    return sock


def next_announcement(sock: socket.socket, usn: str, nts: str = "") -> dict[str, str]:
    """The next one of this device; other emulators announce themselves too."""
    while True:
        fields = fields_of(sock.recv(2048))
        if fields.get("USN") == usn and fields.get("NTS", "").startswith(nts):
            return fields
