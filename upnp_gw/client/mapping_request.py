"""What a host asks for, and what came of it. Values and two exceptions."""

from dataclasses import dataclass

from upnp_gw.model.mapping import Endpoint, Transport, Via


@dataclass(frozen=True, slots=True)
class RequestedMapping:
    """A port of this host that the internet shall reach."""

    transport: Transport
    port: int
    """The internal port, 1..65535."""
    external_port: int
    """The one that is wished for; another may come."""
    lifetime_s: int
    """> 0"""
    version: int = 4
    """4: a port mapping; 6: a pinhole, which has no other external port."""
    description: str = "upnp-gw request"


@dataclass(frozen=True, slots=True)
class MappingLease:
    """A port that is open, or with ``lifetime_s`` 0 was let go."""

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
    """The gateway said no. The text is ours; a gateway's own words are in ``told``, unescaped."""

    def __init__(self, via: Via, reason: str, told: str = "", retry_s: int = 0) -> None:
        super().__init__(reason)
        self.via = via
        self.reason = reason
        self.told = told
        self.retry_s = retry_s
        """For how long the gateway expects to answer the same, seconds; 0: it did not say."""


class NoAnswer(Exception):
    """Nobody speaks this protocol here. The text says how that was found out."""
