"""A requested mapping, the lease that a gateway granted, and the two ways to fail."""

from dataclasses import dataclass

from upnp_gw.model.mapping import Endpoint, Transport, Via


@dataclass(frozen=True, slots=True)
class RequestedMapping:
    """A port of this host that shall be reachable from the internet."""

    transport: Transport
    port: int
    """The internal port, 1..65535."""
    external_port: int
    """The requested external port. The gateway may grant another one."""
    lifetime_s: int
    """Seconds, > 0."""
    version: int = 4
    """4: a port mapping; 6: a pinhole, whose external port is the internal one."""
    description: str = "upnp-gw request"


@dataclass(frozen=True, slots=True)
class MappingLease:
    """An open port; with ``lifetime_s`` 0 a released one."""

    via: Via
    transport: Transport
    external: Endpoint
    internal: Endpoint
    lifetime_s: int
    pinhole: int | None = None
    """The UniqueID of WANIPv6FirewallControl."""

    def __str__(self) -> str:
        """One line for a shell: ``11.22.33.44:8080 tcp via pcp 3600s``, ``tcp 8080 released via pcp``."""
        if self.lifetime_s == 0:
            return f"{self.transport} {self.internal.port} released via {self.via.protocol}"
        return f"{self.external} {self.transport} via {self.via.protocol} {self.lifetime_s}s"


class RequestRefused(Exception):
    """The gateway refused the request. ``gateway_text``: its own words, unescaped."""

    def __init__(self, via: Via, reason: str, gateway_text: str = "", retry_s: int = 0) -> None:
        super().__init__(reason)
        self.via = via
        self.reason = reason
        self.gateway_text = gateway_text
        self.retry_s = retry_s
        """Seconds for which the gateway expects to give the same answer; 0: not known."""


class NoAnswer(Exception):
    """No gateway answers over this protocol. The text gives the reason."""
