"""Bytes of a TCP connection that its client has not acknowledged."""

import os
import socket
import struct

try:
    import fcntl
    import termios
except ImportError:  # Windows, where only the emulator runs
    KNOWN = False
else:
    KNOWN = True

INT = struct.Struct("i")
RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
"""SO_LINGER: closing resets the connection and discards its send queue (socket(7))."""


def unacknowledged(sock: socket.socket) -> int:
    """The number of bytes; 0 on a system that does not say."""
    if not KNOWN:
        return 0
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(INT.size))
    except OSError:  # macOS has it for terminals alone
        return 0
    return int(INT.unpack(answer)[0])
