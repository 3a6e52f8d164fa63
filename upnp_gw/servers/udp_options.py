"""What Python's socket module has no names for: options of the UDP sockets that face the LAN (linux/socket.h)."""

import ctypes
import socket
import struct

SO_RCVBUFFORCE, SO_ATTACH_FILTER, SO_MEMINFO = 33, 26, 55
MEMINFO = struct.Struct("=9I")
DROPS = 8
"""SK_MEMINFO_DROPS (linux/sock_diag.h)."""
RECEIVE_BYTES = 1 << 20
"""Room for some thousand datagrams while the loop does something else: the kernel's usual 208 KiB hold 270, which a
flood fills in 3 ms."""

LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
PAYLOAD = 8
"""A filter of a UDP socket sees the UDP header first."""


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


def take_only(sock: socket.socket, start: bytes) -> None:
    """The kernel drops what does not begin with these eight bytes: the process is not woken for it."""
    first, second = struct.unpack("!II", start)
    rows = (
        (LOAD_WORD, 0, 0, PAYLOAD),
        (JUMP_IF_EQUAL, 0, 3, first),
        (LOAD_WORD, 0, 0, PAYLOAD + 4),
        (JUMP_IF_EQUAL, 0, 1, second),
        (RETURN, 0, 0, 0xFFFFFFFF),
        (RETURN, 0, 0, 0),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
    filled = struct.pack("@HP", len(rows), ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filled)
