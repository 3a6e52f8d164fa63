"""Traffic counters and bit rate of the WAN link. Reads the kernel at most once a second, synchronously."""

import array
import fcntl
import socket
import struct
from collections.abc import Callable

from upnp_gw.system.rtnetlink_socket import Rtnetlink

Counts = tuple[int, int, int, int]
"""Bytes sent, bytes received, packets sent, packets received."""

COUNTERS_S = 1.0
"""Most age of the counters, seconds."""
SPEED_S = 30.0
"""Most age of the bit rate. Some drivers ask the PHY for it, which takes milliseconds."""
ASSUMED_SPEED = 100_000_000
"""Bit/s, if the driver reports none (ppp, tun, virtual machines)."""
MOST_SPEED = 2**32 - 1
SIOCETHTOOL = 0x8946
ETHTOOL_GSET = 0x1
ETHTOOL_CMD = struct.Struct("=IIIHBBBBBBIIHBBI8x")
UNKNOWN_MBIT = (0, 0xFFFF, 0xFFFFFFFF)


class WanCounters:
    """Make it in the net namespace of the link. ``boottime``: CLOCK_BOOTTIME in seconds."""

    def __init__(self, interface: str, boottime: Callable[[], float]) -> None:
        self._interface = interface
        self._boottime = boottime
        self._kernel = Rtnetlink()
        self._read_at = self._speed_at = float("-inf")
        self._last: tuple[int, Counts] = (0, (0, 0, 0, 0))
        self._before: Counts = (0, 0, 0, 0)
        self._speed = ASSUMED_SPEED

    def close(self) -> None:
        self._kernel.close()

    def wan_counters(self) -> Counts:
        """At most a second old. They never wrap or go back: if the link is made again (ppp0) they continue."""
        now = self._boottime()
        if now - self._read_at >= COUNTERS_S:
            self._read_at = now
            self._read()
        return _sum(self._before, self._last[1])

    def wan_speed(self) -> int:
        """Bit/s, 1..2**32 - 1."""
        now = self._boottime()
        if now - self._speed_at >= SPEED_S:
            self._speed_at = now
            self._speed = min(link_speed(self._interface) or ASSUMED_SPEED, MOST_SPEED)
        return self._speed

    def _read(self) -> None:
        try:
            link = self._kernel.link(self._interface)
        except OSError:
            return  # keep the last counters, and try again in a second
        if link is None:
            return
        index, counters = self._last
        if link.index != index or any(new < old for new, old in zip(link.counters, counters, strict=True)):
            self._before = _sum(self._before, counters)
        self._last = (link.index, link.counters)


def _sum(a: Counts, b: Counts) -> Counts:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def link_speed(interface: str) -> int | None:
    """The bit rate that the driver reports, bit/s; None if it reports none, or the link is missing."""
    command = array.array("B", ETHTOOL_CMD.pack(ETHTOOL_GSET, *(0,) * 15))
    address, _ = command.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", interface.encode()[:15], address))
        except OSError:
            return None
    return parse_speed(command.tobytes())


def parse_speed(command: bytes) -> int | None:
    """The bit rate in a struct ethtool_cmd; None: unknown (no carrier, or a link without a rate)."""
    fields = ETHTOOL_CMD.unpack(command)
    mbit = fields[3] | fields[12] << 16
    return None if mbit in UNKNOWN_MBIT else mbit * 1_000_000
