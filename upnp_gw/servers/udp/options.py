"""Options of the UDP sockets that face the LAN, which Python's socket module does not name (linux/socket.h)."""

import socket
import struct

SO_RCVBUFFORCE, SO_MEMINFO = 33, 55
MEMINFO = struct.Struct("=9I")
DROPS = 8
"""SK_MEMINFO_DROPS (linux/sock_diag.h)."""
RECEIVE_BYTES = 1 << 20
"""Room for some thousand datagrams while the loop does something else: the kernel's usual 208 KiB hold 270, which a
flood fills in 3 ms."""


def enlarge(sock: socket.socket) -> None:
    """Gives the socket its receive buffer; without CAP_NET_ADMIN as much of it as net.core.rmem_max allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)


def dropped(sock: socket.socket) -> int:
    """Datagrams that the kernel dropped at this socket: its buffer was full, or its filter did not want them."""
    found = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    return int(MEMINFO.unpack(found)[DROPS])
