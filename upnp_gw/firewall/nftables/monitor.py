"""Watches the kernel's nftables events for changes by other programs, to our table and to other tables.

Events carry the port id of the socket that made the change. Those of our libnftables context are dropped by a
filter in the kernel, so that a large refill of our own cannot overflow the event socket.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable

from upnp_gw.firewall.base import NAME
from upnp_gw.firewall.netlink import NETLINK_NETFILTER, SUBSYS_NFTABLES, attributes_of
from upnp_gw.system.netlink import NetlinkMessage, enlarge_receive_buffer, parse_messages
from upnp_gw.system.socket_filter import JUMP_EQUAL, LOAD_WORD, RETURN, attach, packed

GROUP_NFTABLES = 7
INET = b"\x01"
FAMILIES = (INET, b"\x02", b"\x0a")
"""NFPROTO_ numbers of inet, ip and ip6, the table families that we read."""
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
RECEIVE_BUFFER = 4 << 20
BURST_S = 0.02
"""Seconds for which the events of one foreign change are gathered before it is reported."""

DELTABLE = 2
WHAT = {
    DELTABLE: "table removed",
    0: "table changed",
    3: "chain changed",
    5: "chain removed",
    6: "rule added",
    8: "rule removed",
    9: "set changed",
    11: "set removed",
    12: "element added",
    14: "element removed",
}
"""NFT_MSG_ type -> what it means for our table, the gravest first."""
GRAVITY = [DELTABLE, 11, 5, 8, 6, 14, 12, 9, 3, 0]
LOST = "events lost"


def netlink_port_ids() -> frozenset[int]:
    """The port ids of every netfilter netlink socket of this process."""
    ports = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as found:
                if found.family == socket.AF_NETLINK and found.proto == NETLINK_NETFILTER:
                    ports.add(found.getsockname()[0])
        except OSError:  # closed meanwhile by another thread
            continue
    return frozenset(ports)


def foreign_change(message: NetlinkMessage, own: Iterable[int]) -> int | None:
    """The NFT_MSG_ type where somebody else changed our table; None for everything else."""
    return message.kind & 0xFF if _concerns(message) and _ours(message) and message.port not in own else None


def changes_other_table(message: NetlinkMessage) -> bool:
    """True if another table changed, in a family that we read."""
    return _concerns(message) and not _ours(message)


def _concerns(message: NetlinkMessage) -> bool:
    subsystem, kind = message.kind >> 8, message.kind & 0xFF
    return subsystem == SUBSYS_NFTABLES and kind in WHAT and message.body[:1] in FAMILIES


def _ours(message: NetlinkMessage) -> bool:
    # in each of them the first attribute type is the table's name
    name = attributes_of(message).get(1, b"").rstrip(b"\0")
    return message.body[:1] == INET and name == NAME.encode()


def own_changes_filter(ports: Iterable[int]) -> bytes:
    """A classic BPF program that drops what these port ids made: nlmsg_pid is at offset 12."""
    rows = [(LOAD_WORD, 0, 0, 12)]
    listed = sorted(ports)[:32]
    for place, number in enumerate(listed):
        as_loaded = int.from_bytes(struct.pack("=I", number), "big")
        rows.append((JUMP_EQUAL, len(listed) - place, 0, as_loaded))
    rows += [(RETURN, 0, 0, 0xFFFFFFFF), (RETURN, 0, 0, 0)]
    return packed(rows)


class TableMonitor:
    """Calls ``on_foreign_change`` once for each burst of changes to our table, on the running event loop.

    ``on_elsewhere`` is called each time that events of other tables arrive.
    """

    def __init__(
        self, on_foreign_change: Callable[[str], None], on_elsewhere: Callable[[], None] = lambda: None
    ) -> None:
        self._on_foreign_change = on_foreign_change
        self._on_elsewhere = on_elsewhere
        self._loop = asyncio.get_running_loop()
        self._seen: set[int | None] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._own: frozenset[int] = frozenset()
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, flags, NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 0))
            self._filter_own_changes()
            enlarge_receive_buffer(self._socket, RECEIVE_BUFFER)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, GROUP_NFTABLES)
        except BaseException:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _filter_own_changes(self) -> None:
        self._own = netlink_port_ids()
        attach(self._socket, own_changes_filter(self._own))

    def _readable(self) -> None:
        for _ in range(64):  # then let others run
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._note(None)
                self._on_elsewhere()
                continue
            messages = list(parse_messages(data))
            if any(changes_other_table(message) for message in messages):
                self._on_elsewhere()
            kinds = [(foreign_change(message, self._own), message.port) for message in messages]
            if any(kind is not None for kind, _ in kinds):
                self._filter_own_changes()  # libnftables may have opened a new socket
                for kind, port in kinds:
                    if kind is not None and port not in self._own:
                        self._note(kind)

    def _note(self, kind: int | None) -> None:
        self._seen.add(kind)
        if self._timer is None:
            self._timer = self._loop.call_later(BURST_S, self._burst_over)

    def _burst_over(self) -> None:
        seen, self._seen, self._timer = self._seen, set(), None
        worst = next((kind for kind in GRAVITY if kind in seen), None)
        self._on_foreign_change(WHAT[worst] if worst is not None else LOST)
