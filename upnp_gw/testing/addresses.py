"""The addresses and URLs at which a client finds an emulator."""

from abc import ABC, abstractmethod

from upnp_gw.protocols.igd_services import IgdVersion, control_path, description_path, service_of
from upnp_gw.testing.gateway import EmulatedGateway
from upnp_gw.testing.options import EmulatorOptions
from upnp_gw.testing.ports import IPV6_LOOPBACK


class Addresses(ABC):
    """The addresses of an ``Emulator``. RuntimeError while it is not started."""

    _options: EmulatorOptions

    @property
    @abstractmethod
    def _running(self) -> EmulatedGateway: ...

    @property
    def location(self) -> str:
        """The URL of the description of its highest version, which has every service."""
        return self._url(description_path(IgdVersion(f"igd{max(self._options.versions)}")))

    @property
    def location_v1(self) -> str:
        """The URL of the InternetGatewayDevice:1 description."""
        return self._url(description_path(IgdVersion.IGD1))

    @property
    def location_v2(self) -> str:
        """The URL of the InternetGatewayDevice:2 description."""
        return self._url(description_path(IgdVersion.IGD2))

    @property
    def location_ipv6(self) -> str:
        """The URL of ``location`` over IPv6. Raises RuntimeError without the option ``ipv6``."""
        if not self._options.ipv6:
            raise RuntimeError("the emulator serves IPv6 with Emulator(ipv6=True) only")
        return self.location.replace(self.gateway_address, f"[{IPV6_LOOPBACK}]")

    def control_url(self, service: str, version: int | None = None) -> str:
        """The URL for SOAP calls of a service, as ``WANIPConnection``, in version 1 or 2 of IGD; None: the highest
        that it has. Raises ValueError for a service or a version that it does not have."""
        version = version or max(self._options.versions)
        if version not in self._options.versions:
            raise ValueError(f"it has no version {version} of InternetGatewayDevice")
        igd_version = IgdVersion(f"igd{version}")
        found = service_of(igd_version, service)
        if found is None:
            raise ValueError(f"InternetGatewayDevice:{version} has no service {service!r}")
        return self._url(control_path(self._running.token, igd_version, found))

    @property
    def gateway_address(self) -> str:
        """Its IPv4 address: the default gateway of its clients, so to say."""
        return str(self._running.place.own.ip)

    @property
    def search_address(self) -> tuple[str, int]:
        """Address and port for searches by unicast: port 1900, unless that is taken or another one was chosen."""
        return self.gateway_address, self._running.ports.search or 0

    @property
    def pcp_address(self) -> tuple[str, int]:
        """Address and port of NAT-PMP and PCP: port 5351, unless that is taken or another one was chosen."""
        return self.gateway_address, self._running.ports.pcp or 0

    @property
    def external_address(self) -> str:
        """The external IPv4 address; empty: there is none."""
        return self._running.external_address

    def _url(self, path: str) -> str:
        return f"http://{self.gateway_address}:{self._running.http_port}{path}"
