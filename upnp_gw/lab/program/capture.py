"""Captures on the link of the program's host: its messages to the gateway with their answers, and probes."""

import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from upnp_gw.lab.host import Host
from upnp_gw.lab.program.packet import Packet, parse_packet
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport
from upnp_gw.protocols.port5351 import PORT as PORT_5351
from upnp_gw.protocols.ssdp.groups import PORT as SSDP_PORT

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 8 << 20
LARGEST_BYTES = 1 << 17
"""More than any packet: the kernel hands over segments that the link would send as several."""
KEPT_BYTES = 64 << 20
"""Most bytes of payload that are kept. A program that asks more is reported up to here."""
STOP_CHECK_S = 0.1
"""Seconds without a packet after which the capture looks whether it is to end."""

_STATISTICS = struct.Struct("II")


class Capture:
    """``with Capture(host, http_port, peers) as capture``: keeps packets until the block ends.

    ``peers``: addresses on the internet that probe. Times are seconds since the capture began.
    """

    def __init__(self, host: Host, http_port: int, peers: frozenset[IPAddress]) -> None:
        self.packets: list[Packet] = []
        self.lost = 0
        """Packets that were not kept: the kernel's buffer or ``KEPT_BYTES`` was full."""
        self._http_port = http_port
        self._peers = peers
        self._kept = 0
        self._began = time.monotonic()
        self._arrived: set[tuple[Transport, Endpoint]] = set()
        self._changed = threading.Condition()
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        with suppress(PermissionError):  # root of a user namespace may not, before Linux 5.16
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.settimeout(STOP_CHECK_S)
        self._socket.bind((host.interface, ETH_P_ALL))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        _, dropped = _STATISTICS.unpack(self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size))
        self.lost += dropped
        self._socket.close()

    def now(self) -> float:
        """Seconds since the capture began."""
        return time.monotonic() - self._began

    def arrived(self, transport: Transport, source: Endpoint, within_s: float) -> bool:
        """True once a packet of a peer with this source has arrived at the host; waits at most ``within_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: (transport, source) in self._arrived, within_s)

    def _read(self) -> None:
        while True:
            try:
                data = self._socket.recv(LARGEST_BYTES)
            except TimeoutError:
                if self._stopped.is_set():
                    return  # nothing is left in the buffer
                continue
            packet = parse_packet(data, self.now())
            if packet is not None:
                self._note(packet)

    def _note(self, packet: Packet) -> None:
        if packet.source.address in self._peers:
            with self._changed:
                self._arrived.add((packet.transport, packet.source))
                self._changed.notify_all()
        elif self._concerns_gateway(packet):
            self._kept += len(packet.payload)
            if self._kept > KEPT_BYTES:
                self.lost += 1
            else:
                self.packets.append(packet)

    def _concerns_gateway(self, packet: Packet) -> bool:
        ports = {packet.source.port, packet.destination.port}
        if packet.transport is Transport.TCP:
            return self._http_port in ports
        return bool(ports & {SSDP_PORT, PORT_5351})
