"""One exchange with the kernel: which replies are ours, and how it ends. The kernel is a list of replies."""

import errno
import socket
import struct
from collections.abc import Callable

import pytest

from upnp_gw.system.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    InterruptedDump,
    NetlinkSocket,
    build_message,
)

ENTRY = 16


class Kernel:
    """Answers each request with the datagrams of the test. A datagram is (sender's port id, bytes)."""

    def __init__(self, *replies: Callable[[int], list[tuple[int, bytes]]]) -> None:
        self.replies = list(replies)
        self.queue: list[tuple[int, bytes]] = []

    def sendto(self, data: bytes, address: tuple[int, int]) -> None:
        sequence = struct.unpack_from("=IHHII", data)[3]
        self.queue += self.replies.pop(0)(sequence)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        sender, data = self.queue.pop(0)
        return data, (sender, 0)


def opened(kernel: Kernel) -> NetlinkSocket:
    sock = NetlinkSocket(socket.NETLINK_ROUTE)
    sock.close()
    sock._socket = kernel  # type: ignore[assignment]
    return sock


def entry(sequence: int, body: bytes = b"", flags: int = 0) -> bytes:
    return build_message(ENTRY, flags, sequence, body)


def end(sequence: int, kind: int = NLMSG_DONE, failure: int = 0, flags: int = 0) -> bytes:
    return build_message(kind, flags, sequence, struct.pack("=i", -failure))


def test_a_dump_of_several_datagrams_ends_with_done() -> None:
    sock = opened(Kernel(lambda n: [(0, entry(n, b"aaaa") + entry(n, b"bbbb")), (0, entry(n, b"cccc") + end(n))]))
    assert [reply.body for reply in sock.exchange(1, NLM_F_DUMP, b"")] == [b"aaaa", b"bbbb", b"cccc"]


def test_replies_to_an_earlier_request_and_messages_of_other_senders_are_skipped() -> None:
    sock = opened(
        Kernel(
            lambda n: [(0, entry(n, b"old1")), (0, entry(n, b"old2") + end(n, failure=errno.EPERM))],
            lambda n: [(4711, entry(n, b"fake") + end(n)), (0, entry(n, b"new1") + end(n, NLMSG_ERROR))],
        )
    )
    assert next(sock.exchange(1, NLM_F_DUMP, b"")).body == b"old1"
    assert [reply.body for reply in sock.exchange(1, NLM_F_ACK, b"")] == [b"new1"]


@pytest.mark.parametrize("kind", [NLMSG_ERROR, NLMSG_DONE])
def test_an_error_has_the_kernels_number(kind: int) -> None:
    sock = opened(Kernel(lambda n: [(0, end(n, kind, errno.EBUSY))]))
    with pytest.raises(OSError, match="busy") as problem:
        list(sock.exchange(1, NLM_F_ACK, b""))
    assert problem.value.errno == errno.EBUSY


def test_a_dump_that_a_change_interrupted_says_so_after_its_last_entry() -> None:
    sock = opened(Kernel(lambda n: [(0, entry(n, b"aaaa", NLM_F_DUMP_INTR)), (0, entry(n, b"bbbb") + end(n))]))
    replies = sock.exchange(1, NLM_F_DUMP, b"")
    assert [next(replies).body, next(replies).body] == [b"aaaa", b"bbbb"]
    with pytest.raises(InterruptedDump):
        next(replies)


def test_the_kernel_dumps_its_links() -> None:
    with NetlinkSocket(socket.NETLINK_ROUTE) as sock:
        for _ in range(2):
            assert all(reply.kind == 16 for reply in sock.exchange(18, NLM_F_DUMP, bytes(16)))
