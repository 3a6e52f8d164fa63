"""Options of the UDP sockets that face the LAN, which Python's socket module does not name (linux/socket.h)."""

import socket
import struct

SO_RCVBUFFORCE, SO_MEMINFO = 33, 55
MEMINFO = struct.Struct("=9I")
DROPS = 8
"""SK_MEMINFO_DROPS (linux/sock_diag.h)."""
RECEIVE_BYTES = 1 << 20
"""Size of the receive buffer: some thousand datagrams. The kernel's default of 208 KiB holds 270, which a flood
fills in 3 ms."""


def enlarge(sock: socket.socket) -> None:
    """Sets the receive buffer; without CAP_NET_ADMIN at most net.core.rmem_max."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)


def dropped(sock: socket.socket) -> int:
    """Datagrams that the kernel dropped at this socket: the buffer was full, or the filter refused them."""
    counters = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    return int(MEMINFO.unpack(counters)[DROPS])
