"""A kernel that does not answer is an error, not a thread that waits for ever."""

import socket
import struct

import pytest

from upnp_gw.system.netlink import TIMEOUT_S, NetlinkSocket

NETLINK_ROUTE, NOOP = 0, 1
TIMEVAL = struct.Struct("@ll")


def test_a_request_without_an_answer_times_out() -> None:
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        set_s, _ = TIMEVAL.unpack(netlink._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEVAL.size))
        assert set_s == TIMEOUT_S
        netlink._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEVAL.pack(0, 20_000))
        with pytest.raises(TimeoutError):
            list(netlink.exchange(NOOP, 0, b""))
