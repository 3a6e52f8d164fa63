"""UPnP IGD from the client's side, by the IgdDevice of async-upnp-client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from async_upnp_client.aiohttp import AiohttpSessionRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError, UpnpError
from async_upnp_client.profiles.igd import IgdDevice
from async_upnp_client.search import async_search

from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.options import ClientOptions
from upnp_gw.client.route import GatewayRoute, find_route
from upnp_gw.model.mapping import Endpoint, Via

DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:"
ANY_HOST, ANY_HOST6 = IPv4Address(0), IPv6Address(0)
CONFLICT = frozenset({718, 724, 729, 728})
"""Error codes that mean: another external port may be free, or only the internal one is possible."""
NO_SUCH_ENTRY = frozenset({714, 704})
"""Error codes that mean: there is no such mapping or pinhole."""
OTHER_PORTS = 3
"""Further ports that are tried if the requested one is in use."""
LEASE_MOST_S = {4: 604_800, 6: 86_400}
"""IP version -> longest lease of the standard: of a port mapping, of a pinhole."""


class IgdLink:
    """A link to one gateway. ``source``: the address that requests come from and mappings lead to; ``own``: the
    address that pinholes lead to."""

    def __init__(self, device: IgdDevice, source: IPv4Address, own: IPv6Address | None) -> None:
        self._device = device
        self._source = source
        self._own = own
        self.via = Via.IGD2 if device.device.device_type.endswith(":2") else Via.IGD1

    async def ask(self, request: RequestedMapping, lease: MappingLease | None, timeout_s: float) -> MappingLease:
        with _translated(self.via, timeout_s):
            async with asyncio.timeout(timeout_s):
                return await (self._map(request, lease) if request.version == 4 else self._open(request, lease))

    async def release(
        self, request: RequestedMapping, lease: MappingLease | None, timeout_s: float
    ) -> MappingLease:
        with _translated(self.via, timeout_s):
            async with asyncio.timeout(timeout_s):
                return await (self._unmap(request, lease) if request.version == 4 else self._close(request, lease))

    async def wait_for_change(self, request: RequestedMapping, lease: MappingLease) -> None:
        """Never returns: IGD has no epoch, so only a renewal notices a change."""
        await asyncio.Event().wait()

    async def _map(self, request: RequestedMapping, lease: MappingLease | None) -> MappingLease:
        lifetime_s = min(request.lifetime_s, LEASE_MOST_S[4])
        first = lease.external.port if lease is not None else request.external_port
        ports = tried_ports(first, request.port)
        for port in ports:
            try:
                await self._device.async_add_port_mapping(
                    remote_host=ANY_HOST,
                    external_port=port,
                    protocol=request.transport.upper(),
                    internal_port=request.port,
                    internal_client=self._source,
                    enabled=True,
                    description=request.description,
                    lease_duration=timedelta(seconds=lifetime_s),
                )
            except UpnpActionError as error:
                if error.error_code not in CONFLICT or port == ports[-1]:
                    raise
            else:
                return await self._lease(request, port, lifetime_s)
        raise AssertionError("the last try returns or raises")

    async def _unmap(self, request: RequestedMapping, lease: MappingLease | None) -> MappingLease:
        port = lease.external.port if lease is not None else request.external_port
        try:
            await self._device.async_delete_port_mapping(
                remote_host=ANY_HOST, external_port=port, protocol=request.transport.upper()
            )
        except UpnpActionError as error:
            if error.error_code not in NO_SUCH_ENTRY:
                raise
        return await self._lease(request, port, 0)

    async def _lease(self, request: RequestedMapping, port: int, lifetime_s: int) -> MappingLease:
        address = await self._device.async_get_external_ip_address()
        external = Endpoint(IPv4Address(address or "0.0.0.0"), port)
        return MappingLease(self.via, request.transport, external, Endpoint(self._source, request.port), lifetime_s)

    async def _open(self, request: RequestedMapping, lease: MappingLease | None) -> MappingLease:
        """AddPinhole with the same addresses and ports renews the pinhole, and returns the same UniqueID."""
        return await self._pinhole(request, min(request.lifetime_s, LEASE_MOST_S[6]))

    async def _close(self, request: RequestedMapping, lease: MappingLease | None) -> MappingLease:
        """If the UniqueID is not known, AddPinhole for the same pinhole returns it."""
        pinhole = lease if lease is not None and lease.pinhole is not None else await self._pinhole(request, 1)
        assert pinhole.pinhole is not None
        await self._device.async_delete_pinhole(pinhole.pinhole)
        return MappingLease(self.via, request.transport, pinhole.external, pinhole.internal, 0, pinhole.pinhole)

    async def _pinhole(self, request: RequestedMapping, lifetime_s: int) -> MappingLease:
        assert self._own is not None, "a pinhole needs an internal client"
        unique_id = await self._device.async_add_pinhole(
            ANY_HOST6, 0, self._own, request.port, request.transport.number, timedelta(seconds=lifetime_s)
        )
        if unique_id is None:
            raise NoAnswer("the gateway has no WANIPv6FirewallControl service")
        internal = Endpoint(self._own, request.port)
        return MappingLease(self.via, request.transport, internal, internal, lifetime_s, unique_id)


def tried_ports(first: int, internal: int) -> list[int]:
    """The external ports in the order in which they are tried. Without NAT only the internal one is granted."""
    others = [1024 + (first * 7919 + other * 104729) % 64512 for other in range(1, OTHER_PORTS + 1)]
    return list(dict.fromkeys((first, internal, *others)))[: OTHER_PORTS + 1]


@asynccontextmanager
async def open_igd(route: GatewayRoute, options: ClientOptions, version: int) -> AsyncIterator[IgdLink]:
    """Searches for a gateway and reads its description. Raises NoAnswer."""
    assert isinstance(route.source, IPv4Address)
    own = None
    if version == 6:
        source6 = find_route(6, options.gateway, options.source).source
        own = source6 if isinstance(source6, IPv6Address) else None
    location = await _search(route, options.gateway is not None, version, options.timeout_s)
    # the gateway decides by the source address, so all connections use this one
    connector = aiohttp.TCPConnector(local_addr=(str(route.source), 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        requester = AiohttpSessionRequester(session, timeout=max(1, int(options.timeout_s)))
        try:
            device = await UpnpFactory(requester, non_strict=True).async_create_device(location)
        except (UpnpError, TimeoutError, OSError) as error:
            raise NoAnswer(f"cannot read the description at {location} ({type(error).__name__})") from None
        yield IgdLink(IgdDevice(device, None), route.source, own)


async def _search(route: GatewayRoute, named: bool, version: int, timeout_s: float) -> str:
    """LOCATION of the gateway of the route. Of another gateway only if the user named none."""
    locations: dict[str, str] = {}
    gateway_answered = asyncio.Event()

    async def on_answer(headers: Mapping[str, Any]) -> None:
        location = str(headers.get("location", ""))
        with contextlib.suppress(ValueError):  # not a URL, or a host name instead of an address
            locations.setdefault(str(ip_address(urlsplit(location).hostname or "")), location)
        if str(route.gateway) in locations:
            gateway_answered.set()

    async def search_all() -> None:
        # pinholes need version 2; port mappings also work with version 1
        for target in (f"{DEVICE}2",) if version == 6 else (f"{DEVICE}2", f"{DEVICE}1"):
            search_s = max(1, int(timeout_s / 2))
            await async_search(on_answer, timeout=search_s, search_target=target, source=(str(route.source), 0))

    searching = asyncio.ensure_future(search_all())
    waiting = asyncio.ensure_future(gateway_answered.wait())
    try:
        await asyncio.wait((waiting, searching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        searching.cancel()
        await asyncio.gather(waiting, searching, return_exceptions=True)
    location = locations.get(str(route.gateway)) or ("" if named else next(iter(locations.values()), ""))
    if not location:
        raise NoAnswer("no gateway answered the search")
    return location


@contextlib.contextmanager
def _translated(via: Via, timeout_s: float) -> Iterator[None]:
    """Raises the library's exceptions as RequestRefused and NoAnswer."""
    try:
        yield
    except UpnpActionError as error:
        code = f"error {error.error_code}" if error.error_code is not None else "an error"
        raise RequestRefused(via, f"the gateway answered with {code}", error.error_desc or "") from None
    except TimeoutError:
        raise NoAnswer(f"no answer within {timeout_s:g} s") from None
    except (UpnpError, OSError) as error:
        raise NoAnswer(f"the gateway did not answer ({type(error).__name__})") from None
