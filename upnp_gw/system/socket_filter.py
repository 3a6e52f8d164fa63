"""Socket filters: the kernel drops packets before they reach a socket. Classic BPF programs (linux/filter.h)."""

import ctypes
import socket
import struct
from collections.abc import Iterable

SO_ATTACH_FILTER = 26
LOAD_WORD, LOAD_HALF, LOAD_BYTE, LOAD_STORED, STORE = 0x20, 0x28, 0x30, 0x60, 0x02
JUMP_EQUAL, RETURN = 0x15, 0x06

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


def packed(program: Iterable[Instruction]) -> bytes:
    """The program as an array of struct sock_filter."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def attach(sock: socket.socket, program: bytes) -> None:
    """Replaces the filter of the socket. ``program``: see ``packed``. Raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)
