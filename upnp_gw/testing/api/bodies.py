"""Types of the bodies and queries. Requests, mappings and events are those of ``upnp_gw.testing``."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from upnp_gw.api import Port, Vocabulary
from upnp_gw.testing.registry import FaultEntry

WAIT_MAX_S = 60
"""The longest wait of a query, seconds."""

Seconds = Annotated[float, Meta(ge=0)]
Least = Annotated[int, Meta(ge=1, le=1_000_000)]
Wait = Annotated[float, Meta(ge=0, le=WAIT_MAX_S)]


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer whose status is not 2xx."""

    error: Literal["invalid", "not-found", "forbidden", "too-late", "internal"]
    message: str
    """One sentence."""
    field: str | None = None
    """The field or query parameter with the error."""


class State(Struct, frozen=True, kw_only=True):
    """The router now. `upnp-gw emulate --json` prints it at the start."""

    control: str
    """The URL of this API."""
    location: str
    """The URL of the description of its highest version."""
    location_v1: str
    """The URL of the InternetGatewayDevice:1 description."""
    location_v2: str
    """The URL of the InternetGatewayDevice:2 description."""
    control_url: str
    """The URL for SOAP calls of its WAN connection service, in its highest version."""
    gateway_address: str
    search_port: int
    """UDP, at gateway_address: SSDP searches by unicast."""
    pcp_port: int
    """UDP, at gateway_address: NAT-PMP and PCP."""
    external_address: str
    """Empty: there is none."""
    wan_up: bool
    personality: list[str]
    now_s: float
    """Seconds since the start, by its own clock."""
    mappings: int
    pinholes: int
    requests: int
    subscribers: int


class Fault(Struct, frozen=True, kw_only=True):
    """A fault, or an answer in place of the gateway's, that is in force or was."""

    id: int
    name: str
    action: str | None
    """None: every action that it can strike."""
    left: int | None
    """The number of requests that it still strikes; None: until it is taken back."""
    struck: int
    """The number of requests that it has struck."""


class PutFault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault of docs/testing-faults.md: as `text`, or by its parts."""

    text: str = ""
    """As the option --fault takes it, such as "AddPortMapping=718,times=1". No other field then."""
    name: str = ""
    action: str | None = None
    times: Least | None = None
    after: bool | None = None
    parameters: Mapping[str, bool | int | float | str] = {}


class PutAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer in place of the gateway's, as `Emulator.answer` gives it."""

    action: str
    error: int | str | None = None
    """Code or name."""
    values: Mapping[str, str] | None = None
    """Out-arguments."""
    wire: str | None = None
    """A fault of the wire, which the answer meets: its name, without parameters."""
    delay_s: Seconds = 0
    times: Least | None = None
    after: bool | None = None


class Catalogue(Struct, frozen=True, kw_only=True):
    """Every fault and every personality."""

    faults: list[FaultEntry]
    personalities: list["PersonalityEntry"]


class PersonalityEntry(Struct, frozen=True, kw_only=True):
    """One kind of router."""

    name: str
    description: str
    source: str


class Personality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The kinds of router that it is; none: the usual one."""

    names: list[str]


class Time(Struct, frozen=True, kw_only=True):
    """Its own clock."""

    now_s: float
    """Seconds since the start."""


class Advance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A move of the clock: the sum of these, each a year at most."""

    days: Annotated[float, Meta(ge=0, le=366)] = 0
    hours: Annotated[float, Meta(ge=0, le=366 * 24)] = 0
    minutes: Annotated[float, Meta(ge=0, le=366 * 24 * 60)] = 0
    seconds: Annotated[float, Meta(ge=0, le=366 * 86400)] = 0


class Wan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of the WAN; without a field that stays as it is."""

    external_address: str | None = None
    """IPv4; empty: there is none."""
    up: bool | None = None


class Reboot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reboot."""

    keep_mappings: bool = False
    """False: the mappings are lost, and control URLs and UDN are new."""


class Reset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The extent of a reset."""

    as_new: bool = False
    """False: requests, events and faults. True: all, as after the start: the mappings, the personality and the WAN,
    too. Control URLs and UDN are new ones."""


class MappingFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice of mappings, and the time to wait for them."""

    external_port: Port | None = None
    internal_port: Port | None = None
    internal_client: str | None = None
    transport: Literal["tcp", "udp"] | None = None
    via: Literal["igd1", "igd2", "natpmp", "pcp"] | None = None
    count: Least = 1
    wait_s: Wait = 0
    """Wait until there are count of them, so many seconds at most. Then the answer is an error."""


class RequestFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice of requests, and the time to wait for them."""

    action: str | None = None
    protocol: str | None = None
    client: str | None = None
    count: Least = 1
    wait_s: Wait = 0
    """Wait until there are count of them, so many seconds at most. Then the answer is an error."""
    answered: bool = True
    """False: do not wait until they were answered."""


class SubscriberFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice of event subscriptions, and the time to wait for them."""

    client: str | None = None
    service: str | None = None
    version: Literal[1, 2] | None = None
    count: Least = 1
    wait_s: Wait = 0
    """Wait until there are count of them, so many seconds at most. Then the answer is an error."""


class AnnouncementFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice of SSDP announcements, and the time to wait for them."""

    nts: str | None = None
    nt: str | None = None
    count: Least = 1
    wait_s: Wait = 0
    """Wait until there are count of them, so many seconds at most. Then the answer is an error."""


class EventFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice of events, and the time to wait for them."""

    sid: str | None = None
    client: str | None = None
    outcome: str | None = None
    count: Least = 1
    wait_s: Wait = 0
    """Wait until there are count of them, so many seconds at most. Then the answer is an error."""


WORDS = Vocabulary(
    {
        "action": 'an action, such as "AddPortMapping", "pcp.map" or "M-SEARCH"',
        "after": "true or false",
        "answered": "true or false",
        "as_new": "true or false",
        "count": "a number 1 to 1000000, such as 2",
        "client": "the address of a client, such as 127.0.0.1",
        "days": "days 0 to 366, such as 1",
        "delay_s": "seconds 0 to 25, such as 0.5",
        "error": 'the code or the name of an error, such as 718 or "ConflictInMappingEntry"',
        "external_address": 'an IPv4 address such as "203.0.113.7", or "" for none',
        "external_port": "a port 1 to 65535, such as 8080",
        "hours": "hours 0 to 8784, such as 1",
        "internal_client": "the address of a client, such as 127.0.0.1",
        "internal_port": "a port 1 to 65535, such as 8080",
        "keep_mappings": "true or false",
        "minutes": "minutes 0 to 527040, such as 10",
        "name": 'the name of a fault, such as "reset"; GET /v1/catalogue lists them',
        "nt": "the type that is announced, such as upnp:rootdevice",
        "nts": "ssdp:alive, ssdp:byebye or ssdp:update",
        "names": 'a list of personalities, such as ["v1-only"]; GET /v1/catalogue lists them',
        "outcome": "an outcome, such as lost",
        "parameters": 'those of the fault, such as {"code": 718}',
        "protocol": "igd1, igd2, http, ssdp, natpmp or pcp",
        "seconds": "seconds 0 to 31622400, such as 90",
        "service": "a service, such as WANIPConnection",
        "sid": "the SID of a subscription",
        "text": 'a fault as the option --fault takes it, such as "AddPortMapping=718,times=1"',
        "times": "a number 1 to 1000000, such as 2",
        "transport": "tcp or udp",
        "up": "true or false",
        "values": 'out-arguments, such as {"NewExternalIPAddress": "10.0.0.7"}',
        "version": "1 or 2",
        "via": "igd1, igd2, natpmp or pcp",
        "wait_s": f"seconds 0 to {WAIT_MAX_S}, such as 5",
        "wire": 'the name of a fault without parameters, such as "reset"',
    },
    "see docs/emulate-api.json",
)
"""For messages about a wrong body or query."""
