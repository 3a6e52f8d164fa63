"""The values of the report about a program in the lab."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from upnp_gw.model.mapping import Endpoint

ACCEPTED = "accepted"
"""TCP: the connection was accepted."""
ANSWERED = "answered"
"""UDP: a datagram came back."""
REFUSED = "refused"
"""The host answered that nothing listens there."""
SILENT = "no answer"
UNPROBED = "not probed"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message of the program, and the answer."""

    at_s: float
    """Seconds since the program was started."""
    protocol: str
    """SSDP, HTTP, IGD, NAT-PMP or PCP."""
    asked: str
    answer: str
    """Empty: there was none."""
    ok: bool
    """False: an error, or no answer."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Those of an action of IGD."""
    times: int = 1
    """The number of times it was sent before an answer came: datagrams are sent again."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A mapping that was opened, and the probe of it from the internet."""

    mapping: str
    """Its id, as in the gateway's log."""
    transport: str
    external: str
    """Address and port on the internet."""
    internal: str
    arrived: bool
    """A packet from the internet arrived at the internal client."""
    answer: str
    """One of the constants above, or how the probe failed."""
    note: str = ""
    """The reason why it was not probed."""


@dataclass(frozen=True, slots=True)
class LeftMapping:
    """A mapping that is still open after the program ended."""

    mapping: str
    transport: str
    external: str
    internal: str
    lease_left_s: int | None
    """None: permanent."""


@dataclass(frozen=True, slots=True)
class LeftProcess:
    """A process that still ran after the program ended. The lab ends it."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """The report on a program in the lab."""

    command: Sequence[str]
    exit_code: int
    """That of the program; 128 + N if signal N ended it."""
    took_s: float
    exchanges: Sequence[Exchange]
    openings: Sequence[Opening]
    mappings_left: Sequence[LeftMapping]
    processes_left: Sequence[LeftProcess]
    packets_lost: int
    """Packets that the capture could not keep: ``exchanges`` may lack some."""


def endpoint_text(address: str | None, port: int) -> str:
    """``192.168.1.23:80``; without an address ``port 80``."""
    return str(Endpoint(ip_address(address), port)) if address is not None else f"port {port}"
