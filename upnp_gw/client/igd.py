"""UPnP IGD from the client's side, by async-upnp-client's IgdDevice."""

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
from upnp_gw.client.route import GatewayRoute, find_way
from upnp_gw.model.mapping import Endpoint, Via

DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:"
ANYBODY, ANYBODY6 = IPv4Address(0), IPv6Address(0)
TAKEN = frozenset({718, 729, 728})
NO_SUCH = frozenset({714, 704})
OTHER_PORTS = 3
"""How many further ports are tried where the wished one is taken."""
LEASE_MOST_S = {4: 604_800, 6: 86_400}
"""By the standard, for a mapping and for a pinhole."""


class IgdLink:
    """One gateway's IgdDevice. ``source`` is where we ask from, ``own`` whom the port shall lead to."""

    def __init__(self, device: IgdDevice, source: IPv4Address, own: IPv6Address | None) -> None:
        self._device = device
        self._source = source
        self._own = own
        self.via = Via.IGD2 if device.device.device_type.endswith(":2") else Via.IGD1

    async def ask(self, requested: RequestedMapping, got: MappingLease | None, patience_s: float) -> MappingLease:
        with _translated(self.via, patience_s):
            async with asyncio.timeout(patience_s):
                return await (self._map(requested, got) if requested.version == 4 else self._open(requested, got))

    async def release(
        self, requested: RequestedMapping, got: MappingLease | None, patience_s: float
    ) -> MappingLease:
        with _translated(self.via, patience_s):
            async with asyncio.timeout(patience_s):
                return await (
                    self._unmap(requested, got) if requested.version == 4 else self._close(requested, got)
                )

    async def changed(self, requested: RequestedMapping, got: MappingLease) -> None:
        """IGD has no epoch: renewals find out."""
        await asyncio.Event().wait()

    async def _map(self, requested: RequestedMapping, got: MappingLease | None) -> MappingLease:
        lease = min(requested.lifetime_s, LEASE_MOST_S[4])
        wished = got.external.port if got is not None else requested.external_port
        for other in range(OTHER_PORTS + 1):
            port = wished if other == 0 else 1024 + (wished * 7919 + other * 104729) % 64512
            try:
                await self._device.async_add_port_mapping(
                    remote_host=ANYBODY,
                    external_port=port,
                    protocol=requested.transport.upper(),
                    internal_port=requested.port,
                    internal_client=self._source,
                    enabled=True,
                    description=requested.description,
                    lease_duration=timedelta(seconds=lease),
                )
            except UpnpActionError as no:
                if no.error_code not in TAKEN or other == OTHER_PORTS:
                    raise
            else:
                return await self._got(requested, port, lease)
        raise AssertionError("the last try returns or raises")

    async def _unmap(self, requested: RequestedMapping, got: MappingLease | None) -> MappingLease:
        port = got.external.port if got is not None else requested.external_port
        try:
            await self._device.async_delete_port_mapping(
                remote_host=ANYBODY, external_port=port, protocol=requested.transport.upper()
            )
        except UpnpActionError as no:
            if no.error_code not in NO_SUCH:
                raise
        return await self._got(requested, port, 0)

    async def _got(self, requested: RequestedMapping, port: int, lease: int) -> MappingLease:
        address = await self._device.async_get_external_ip_address()
        external = Endpoint(IPv4Address(address or "0.0.0.0"), port)
        return MappingLease(self.via, requested.transport, external, Endpoint(self._source, requested.port), lease)

    async def _open(self, requested: RequestedMapping, got: MappingLease | None) -> MappingLease:
        """The same five-tuple again is the renewal, and gives the same UniqueID."""
        return await self._pinhole(requested, min(requested.lifetime_s, LEASE_MOST_S[6]))

    async def _close(self, requested: RequestedMapping, got: MappingLease | None) -> MappingLease:
        """Who does not know the UniqueID asks for the pinhole once more, which tells it."""
        known = got if got is not None and got.pinhole is not None else await self._pinhole(requested, 1)
        assert known.pinhole is not None
        await self._device.async_delete_pinhole(known.pinhole)
        return MappingLease(self.via, requested.transport, known.external, known.internal, 0, known.pinhole)

    async def _pinhole(self, requested: RequestedMapping, lease: int) -> MappingLease:
        assert self._own is not None, "a pinhole has an address to lead to"
        unique = await self._device.async_add_pinhole(
            ANYBODY6, 0, self._own, requested.port, requested.transport.number, timedelta(seconds=lease)
        )
        if unique is None:
            raise NoAnswer("the gateway has no firewall control for IPv6")
        internal = Endpoint(self._own, requested.port)
        return MappingLease(self.via, requested.transport, internal, internal, lease, unique)


@asynccontextmanager
async def igd_link(way: GatewayRoute, options: ClientOptions, version: int) -> AsyncIterator[IgdLink]:
    """Searches for a gateway and reads its description. Raises Silent."""
    assert isinstance(way.source, IPv4Address)
    own = None
    if version == 6:
        found = find_way(6, options.gateway, options.source).source
        own = found if isinstance(found, IPv6Address) else None
    location = await _search(way, options.gateway is not None, version, options.patience_s)
    # every connection leaves from that address: the gateway judges a request by where it comes from
    connector = aiohttp.TCPConnector(local_addr=(str(way.source), 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        requester = AiohttpSessionRequester(session, timeout=max(1, int(options.patience_s)))
        try:
            device = await UpnpFactory(requester, non_strict=True).async_create_device(location)
        except (UpnpError, TimeoutError, OSError) as error:
            raise NoAnswer(f"the description at {location} cannot be read ({type(error).__name__})") from None
        yield IgdLink(IgdDevice(device, None), way.source, own)


async def _search(way: GatewayRoute, named: bool, version: int, patience_s: float) -> str:
    """LOCATION of the gateway that the route leads to; of another one only where none was named."""
    found: dict[str, str] = {}
    ours = asyncio.Event()

    async def answered(headers: Mapping[str, Any]) -> None:
        location = str(headers.get("location", ""))
        with contextlib.suppress(ValueError):  # no URL, or a name in the place of an address
            found.setdefault(str(ip_address(urlsplit(location).hostname or "")), location)
        if str(way.gateway) in found:
            ours.set()

    async def search_all() -> None:
        # a pinhole needs version 2; a mapping takes what every gateway has
        for target in (f"{DEVICE}2",) if version == 6 else (f"{DEVICE}2", f"{DEVICE}1"):
            for_s = max(1, int(patience_s / 2))
            await async_search(answered, timeout=for_s, search_target=target, source=(str(way.source), 0))

    searching = asyncio.ensure_future(search_all())
    waiting = asyncio.ensure_future(ours.wait())
    try:
        await asyncio.wait((waiting, searching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        searching.cancel()
        await asyncio.gather(waiting, searching, return_exceptions=True)
    location = found.get(str(way.gateway)) or ("" if named else next(iter(found.values()), ""))
    if not location:
        raise NoAnswer("no gateway answers a search")
    return location


@contextlib.contextmanager
def _translated(via: Via, patience_s: float) -> Iterator[None]:
    """The library's exceptions in our words."""
    try:
        yield
    except UpnpActionError as no:
        code = f"error {no.error_code}" if no.error_code is not None else "an error"
        raise RequestRefused(via, f"the gateway answered with {code}", no.error_desc or "") from None
    except TimeoutError:
        raise NoAnswer(f"no answer within {patience_s:g} s") from None
    except (UpnpError, OSError) as error:
        raise NoAnswer(f"the gateway does not answer ({type(error).__name__})") from None
