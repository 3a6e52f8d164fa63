"""Keeps one TCP port of this host open on the router, with async-upnp-client's IgdDevice."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from ipaddress import IPv4Address, ip_address

from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError, UpnpError
from async_upnp_client.profiles.igd import IgdDevice

ANYONE = IPv4Address("0.0.0.0")
CONFLICT, ONLY_PERMANENT = 718, 725
LEASE_S = 3600
TRIES = 10


class NotReachableError(Exception):
    """The router's own address is private: another router stands before it."""


class PortKeeper:
    """``run`` keeps the port open until it is cancelled."""

    def __init__(self, location: str, host: IPv4Address, port: int) -> None:
        """``location``: the URL of the router's description; ``host``: this host's address on the LAN."""
        self.external_address = ""
        self.external_port = port
        self.renew_s = LEASE_S // 2
        self._location = location
        self._host = host
        self._port = port
        self._lease_s = LEASE_S
        self._device: IgdDevice | None = None

    async def run(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Opens the port and renews its lease, for good. Raises as ``keep``."""
        while True:
            await self.keep()
            await sleep(self.renew_s)

    async def keep(self) -> None:
        """Opens the port, or renews its lease. Raises NotReachableError, and UpnpError if the router refuses."""
        try:
            await self._map()
        except UpnpActionError:
            raise
        except UpnpError:
            self._device = None  # the router may have restarted, with other control URLs
            await self._map()
        self.external_address = await (await self._igd()).async_get_external_ip_address() or ""
        if not self.external_address or not ip_address(self.external_address).is_global:
            raise NotReachableError(f"the router's external address is {self.external_address or 'missing'}")

    async def release(self) -> None:
        """Closes the port."""
        await (await self._igd()).async_delete_port_mapping(ANYONE, self.external_port, "TCP")

    async def _igd(self) -> IgdDevice:
        if self._device is None:
            factory = UpnpFactory(AiohttpRequester())
            self._device = IgdDevice(await factory.async_create_device(self._location), None)
        return self._device

    async def _map(self) -> None:
        device = await self._igd()
        for _ in range(TRIES):
            try:
                await device.async_add_port_mapping(
                    ANYONE,
                    self.external_port,
                    "TCP",
                    self._port,
                    self._host,
                    True,
                    "port keeper",
                    timedelta(seconds=self._lease_s),
                )
            except UpnpActionError as error:
                if error.error_code == CONFLICT:
                    self.external_port += 1
                elif error.error_code == ONLY_PERMANENT and self._lease_s:
                    self._lease_s = 0
                else:
                    raise
            else:
                return
        raise NotReachableError(f"{TRIES} ports from {self._port} on are taken")


if __name__ == "__main__":
    location, host, port = sys.argv[1:]
    asyncio.run(PortKeeper(location, IPv4Address(host), int(port)).run())
