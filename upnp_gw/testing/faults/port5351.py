"""Answers of NAT-PMP and PCP with wrong values."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from upnp_gw.testing.fault import Fault, LateDatagram, Strikes
from upnp_gw.testing.faults.octets import NONCE, epoch_place, number_of, with_number
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import NATPMP, PCP, Reply

PCP_MAP = frozenset({"pcp.map"})


@dataclass(eq=False)
class DatagramFault(Fault):
    """It changes one answer."""

    def changed(self, data: bytes) -> bytes:
        """The answer as it leaves."""
        return data

    def write_datagram(self, data: bytes, request: Request | None) -> Sequence[LateDatagram]:
        return (LateDatagram(self.changed(data)),)


@dataclass(eq=False)
class WrongNonce(DatagramFault):
    """The answer has another nonce than the request."""

    actions = PCP_MAP

    def changed(self, data: bytes) -> bytes:
        return data[: NONCE.start] + bytes(255 - byte for byte in data[NONCE]) + data[NONCE.stop :]


@dataclass(eq=False)
class ForgottenNonce(Fault):
    """The router keeps another nonce than the client's. So a renewal or a delete gets NOT_AUTHORIZED, as for the
    mapping of somebody else (RFC 6887 section 11.3)."""

    strikes = Strikes.BEFORE
    actions = PCP_MAP

    def read_datagram(self, data: bytes, request: Request) -> bytes:
        return data[: NONCE.start] + secrets.token_bytes(12) + data[NONCE.stop :]

    def write_datagram(self, data: bytes, request: Request | None) -> Sequence[LateDatagram]:
        nonce = request.received[NONCE] if request is not None else data[NONCE]
        return (LateDatagram(data[: NONCE.start] + nonce + data[NONCE.stop :]),)


@dataclass(eq=False)
class EpochBackwards(DatagramFault):
    """The epoch of each answer is lower than that of the one before: a million seconds, then a thousand less each
    time."""

    actions = NATPMP | PCP

    def __post_init__(self) -> None:
        self._next_s = 1_000_000

    def changed(self, data: bytes) -> bytes:
        epoch_s, self._next_s = self._next_s, max(0, self._next_s - 1000)
        return with_number(data, epoch_place(data), epoch_s)


@dataclass(eq=False)
class EpochAhead(DatagramFault):
    """The epoch is so many seconds more than the gateway's."""

    actions = NATPMP | PCP

    seconds: Annotated[int, "0 to 4294967295"] = 2_524_608_000

    def changed(self, data: bytes) -> bytes:
        place = epoch_place(data)
        return with_number(data, place, (number_of(data, place) + self.seconds) % 2**32)


@dataclass(eq=False)
class PcpVersion1Only(DatagramFault):
    """PCP requests get UNSUPP_VERSION with version 1, that of the drafts before RFC 6887."""

    strikes = Strikes.BEFORE
    actions = PCP

    def reply(self, request: Request) -> Reply:
        return "UNSUPP_VERSION"

    def changed(self, data: bytes) -> bytes:
        return b"\1" + data[1:]


@dataclass(eq=False)
class NatPmpWithPcpVersion(DatagramFault):
    """Answers of NAT-PMP have the version number of PCP, 2."""

    actions = NATPMP

    def changed(self, data: bytes) -> bytes:
        return b"\2" + data[1:]


@dataclass(eq=False)
class NatPmpPortsTruncated(DatagramFault):
    """Answers of NAT-PMP have only the low byte of each port."""

    actions = frozenset({"natpmp.map"})

    def changed(self, data: bytes) -> bytes:
        return data[:8] + b"\0" + data[9:10] + b"\0" + data[11:]
