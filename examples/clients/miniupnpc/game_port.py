"""Opens the UDP port of a game server on the router, with miniupnpc's Python module."""

import sys
import time
from collections.abc import Callable
from ipaddress import ip_address

import miniupnpc

LEASE_S = 3600
TRIES = 10
# miniupnpc has the error's text, not its code
CONFLICT, ONLY_PERMANENT = "ConflictInMappingEntry", "OnlyPermanentLeasesSupported"


class NoPortError(Exception):
    """There is no port that players can reach; the text says why."""


class GamePort:
    """``open`` the port, and again every ``renew_s`` seconds."""

    def __init__(self, port: int, location: str = "") -> None:
        """``location``: the URL of the router's description; empty: it is searched for."""
        self.address = ""
        """The address that players connect to, together with ``external_port``."""
        self.external_port = port
        self.renew_s = LEASE_S // 2
        self._port = port
        self._lease_s = LEASE_S
        self._location = location
        self._router: miniupnpc.UPnP | None = None

    def run(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Opens the port and keeps it open, for good. Raises NoPortError."""
        while True:
            self.open()
            sleep(self.renew_s)

    def open(self) -> None:
        """Opens the port, or renews its lease. Raises NoPortError."""
        try:
            self._map()
        except NoPortError:
            raise
        except Exception:  # miniupnpc raises nothing more special
            self._router = None  # the router may have restarted, with other control URLs
            self._map()
        self.address = self._found().externalipaddress() or ""
        if not self.address or not ip_address(self.address).is_global:
            raise NoPortError(f"the router's external address is {self.address or 'missing'}")

    def close(self) -> None:
        """Closes the port."""
        self._found().deleteportmapping(self.external_port, "UDP")

    def _found(self) -> miniupnpc.UPnP:
        if self._router is None:
            router = miniupnpc.UPnP()
            if self._location:
                router.selectigd(self._location)
            else:
                router.discover()
                router.selectigd()
            self._router = router
        return self._router

    def _map(self) -> None:
        router = self._found()
        for _ in range(TRIES):
            try:
                mapping = self.external_port, "UDP", router.lanaddr, self._port, "game server", ""
                router.addportmapping(*mapping, self._lease_s)
            except Exception as error:
                if str(error) == CONFLICT:
                    self.external_port += 1
                elif str(error) == ONLY_PERMANENT and self._lease_s:
                    self._lease_s = 0
                else:
                    raise
            else:
                return
        raise NoPortError(f"{TRIES} ports from {self._port} on are taken")


if __name__ == "__main__":
    GamePort(int(sys.argv[1])).run()
