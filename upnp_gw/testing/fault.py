"""``Fault``: one way in which a router misbehaves. ``registry.FAULTS`` has all of them by name.

A fault sits at one of three seams: the bytes that the servers read and send, the text of the policy, the firewall.
The gateway between them is a router's.
"""

import enum
from collections.abc import Awaitable, Callable, Collection, Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

from upnp_gw.firewall.base import Change
from upnp_gw.model.request import Ipv6Firewall
from upnp_gw.protocols.gena.subscriptions import Delivery, DeliveryOutcome
from upnp_gw.protocols.http.head import Head
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import Reply


class Seam(StrEnum):
    """The place of a fault."""

    SERVERS = "servers"
    """The messages that the servers read and send (``servers.wire``)."""
    POLICY = "policy"
    """The text of the policy, which the real gate reads."""
    FIREWALL = "firewall"
    """The firewall, between the gateway and the memory (``firewall_seam``)."""
    MACHINE = "machine"
    """No fault of the program: its machine has another network, or starts again, as with a router."""


class Strikes(StrEnum):
    """The moment of a fault, beside the change that a request asks for."""

    BEFORE = "before"
    """The gateway does not see the request, or sees another one."""
    AFTER = "after"
    """The gateway has done what was asked. The client sees something else."""
    EITHER = "before, or with `after=True` after"
    AFTER_OR_BEFORE = "after, or with `after=False` before"
    AT_ONCE = "at once"
    """It waits for no request."""


class End(enum.Enum):
    """The end of the connection after the bytes."""

    AS_USUAL = enum.auto()
    CLOSE = enum.auto()
    RESET = enum.auto()
    SILENT = enum.auto()
    """It stays open, and no byte follows."""


class Sent(NamedTuple):
    """The bytes that leave, and the end of the connection."""

    data: bytes
    end: End = End.AS_USUAL


class LateDatagram(NamedTuple):
    """A datagram that leaves after so many seconds."""

    data: bytes
    delay_s: float = 0.0


Send = Callable[[Delivery], Awaitable[DeliveryOutcome]]
"""Sends one event."""


class Announcing(Protocol):
    """The sockets of the emulated gateway."""

    async def send_byebye(self) -> None:
        """Takes back what was announced. Raises ValueError where nothing is announced."""
        ...


class Router(Protocol):
    """The emulated gateway, as faults that strike at once change it."""

    ipv6_firewall: Ipv6Firewall

    @property
    def external_address(self) -> str: ...
    @property
    def wan_up(self) -> bool: ...
    async def change_wan(self, external_address: str, up: bool) -> None: ...
    def change_ipv6_firewall(self, state: Ipv6Firewall) -> None: ...
    async def load_policy(self, owner: object, text: str) -> None:
        """Brings a policy into force until ``drop_policy`` with the same owner. Raises ConfigError."""
        ...

    async def drop_policy(self, owner: object) -> None: ...
    async def reboot(self, keep_mappings: bool, *, new_urls: bool, new_port: bool) -> None: ...
    @property
    def ports(self) -> "Announcing": ...
    def is_mapped(self, external_port: int, transport: str) -> bool:
        """True where this port of TCP or UDP (``tcp``, ``udp``) is mapped now."""
        ...

    def mapping_count(self) -> int:
        """The number of port mappings now."""
        ...


class Fault:
    """A subclass is a dataclass whose fields are the parameters, each with its description in ``Annotated``. Its
    docstring says what the fault does. Every method of this class does nothing."""

    seam: ClassVar[Seam] = Seam.SERVERS
    strikes: ClassVar[Strikes] = Strikes.AFTER
    actions: ClassVar[frozenset[str]] = frozenset()
    """The requests that it can strike. Empty: it is in force for all, until it is taken back."""
    silent: ClassVar[bool] = False
    """True: nothing is sent, and an HTTP connection stays open."""
    waits: ClassVar[bool] = False
    """True: ``begin`` and ``end`` wait for the router."""
    once: ClassVar[bool] = False
    """True: it happens, and there is nothing to take back."""

    # -- one request

    def check(self, action: str) -> None:
        """Raises ValueError where the parameters do not go with the action."""

    def fits(self, action: str) -> bool:
        """True if it strikes this action where no action was chosen."""
        return action in self.actions

    def reply(self, request: Request) -> Reply:
        """The answer in place of the gateway's; None: that one."""
        return None

    def delay_s(self) -> float:
        """Seconds until the answer leaves."""
        return 0.0

    def read_call(self, head: Head, body: bytes, request: Request) -> tuple[Head, bytes]:
        """Head and body of an action, as the server reads them."""
        return head, body

    def read_datagram(self, data: bytes, request: Request) -> bytes:
        """A datagram, as the server reads it."""
        return data

    def write_http(self, head: bytes, body: bytes, request: Request | None) -> Sent:
        """Head with its blank line, body -> what is sent."""
        return Sent(head + body)

    def write_datagram(self, data: bytes, request: Request | None) -> Sequence[LateDatagram]:
        """An answer -> what is sent."""
        return (LateDatagram(data),)

    async def deliver(self, delivery: Delivery, send: Send) -> DeliveryOutcome:
        """Sends an event, or does not."""
        return await send(delivery)

    # -- every request

    def read_head(self, head: Head) -> Head:
        """The head of a request, as the server reads it."""
        return head

    # -- the firewall

    def changes(self, changes: Sequence[Change], installed: Collection[str]) -> Sequence[Change]:
        """The changes that reach the firewall, which has the forwards with these ids. Raises FirewallError."""
        return changes

    # -- at once

    async def begin(self, router: Router) -> None:
        """It comes into force. Raises ValueError."""

    async def end(self, router: Router) -> None:
        """It is taken back."""
