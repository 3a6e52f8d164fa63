"""Asks all hosts of a LAN link who has an address, and receives every answer: ARP for IPv4, neighbour discovery for
IPv6.

The kernel's neighbour table cannot show that two hosts answer: it keeps the first answer for a second and drops the
others. So this uses raw sockets of its own. Opening them needs CAP_NET_RAW, using them needs no capability.
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.neighbour_messages import (
    NOTHING,
    OpenQuery,
    advertised,
    arp_claim,
    arp_filter,
    arp_request,
    nd_filter,
    solicitation,
    solicited_node,
)
from upnp_gw.system.socket_filter import Instruction, attach, packed

log = logging.getLogger(__name__)

ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
HOP_LIMIT = 255
"""A neighbour discovery message with another hop limit came from another link (RFC 4861 section 7.1)."""
DATAGRAM = 2048
BATCH = 64
MOST_ANSWERS = 3
"""Most answers that are kept for one query; two are enough to see a conflict."""


@dataclass(frozen=True, slots=True)
class QuerySource:
    """The gateway's end of a LAN link: where a query is sent from."""

    interface: str
    index: int
    mac: str
    own: IPAddress | None
    """The gateway's IPv4 address in the prefix of the queried address. Not used for IPv6: the kernel chooses
    one."""


class SocketQuery:
    """One query. Call ``ask`` as often as needed, and ``close`` at the end."""

    by_kernel = False

    def __init__(self, who_has: "WhoHas", source: QuerySource, address: IPAddress) -> None:
        self.address = address
        self.source = source
        self.answers: dict[str, None] = {}
        """The MAC addresses that have answered, in order."""
        self.new_answer = asyncio.Event()
        """Set at each new answer."""
        self._who_has = who_has

    def ask(self, *hosts: str) -> None:
        """Asks all hosts of the link. For IPv4 also asks these MAC addresses by unicast. Raises OSError."""
        self._who_has.send(self, hosts)

    def answered(self, mac: str) -> None:
        if mac not in self.answers and len(self.answers) < MOST_ANSWERS:
            self.answers[mac] = None
            self.new_answer.set()

    def close(self) -> None:
        self._who_has.end(self)


class WhoHas:
    """The two sockets, of the net namespace where it is sock. Opening them needs CAP_NET_RAW. Raises OSError.

    Call ``start`` and all other methods on the event loop's thread.
    """

    def __init__(self) -> None:
        self._arp = _socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ARP))
        try:
            self._nd: socket.socket | None = _nd_socket()
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:  # a kernel without IPv6
                self._arp.close()
                raise
            self._nd = None
        self._queries: set[SocketQuery] = set()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._arp, self._arp_readable)
        if self._nd is not None:
            loop.add_reader(self._nd, self._nd_readable)

    def close(self) -> None:
        for sock in (self._arp, self._nd):
            if sock is not None:
                with suppress(RuntimeError):  # closed without having been started
                    asyncio.get_running_loop().remove_reader(sock)
                sock.close()

    def open_query(self, source: QuerySource, address: IPAddress) -> SocketQuery:
        """Opens a query. From now on its answers are received. Raises OSError if the kernel has no memory for its
        filter."""
        query = SocketQuery(self, source, address)
        self._queries.add(query)
        try:
            self._listen(address.version)
        except OSError:
            self._queries.discard(query)
            raise
        return query

    def end(self, query: SocketQuery) -> None:
        if query in self._queries:
            self._queries.discard(query)
            with suppress(OSError):  # no memory for a new filter: the old one accepts more, which does no harm
                self._listen(query.address.version)

    def send(self, query: SocketQuery, hosts: Sequence[str]) -> None:
        source, address = query.source, query.address
        if isinstance(address, IPv4Address):
            if not isinstance(source.own, IPv4Address):
                raise OSError(errno.EADDRNOTAVAIL, "the link has no IPv4 address")
            request = arp_request(source.mac, source.own, address)
            for to in (BROADCAST, *(bytes.fromhex(mac.replace(":", "")) for mac in hosts)):
                self._arp.sendto(request, (source.interface, ETH_P_ARP, 0, 0, to))
        elif self._nd is not None:
            to_all = (str(solicited_node(address)), 0, 0, source.index)
            self._nd.sendto(solicitation(source.mac, address), to_all)

    # -- answers

    def _listen(self, version: int) -> None:
        """Sets the socket's filter: it accepts answers to open queries, and each answer once."""
        answers: dict[tuple[IPAddress, int], tuple[str, ...]] = {}
        for query in self._queries:
            if query.address.version == version:
                place = (query.address, query.source.index)
                known = answers.get(place, query.answers)
                answers[place] = tuple(mac for mac in query.answers if mac in known)
        open_now = [OpenQuery(address, index, macs) for (address, index), macs in answers.items()]
        if version == 4:
            _filter(self._arp, arp_filter(open_now))
        elif self._nd is not None:
            _filter(self._nd, nd_filter(open_now))

    def _arp_readable(self) -> None:
        for _ in range(BATCH):
            try:
                data, (interface, *_) = self._arp.recvfrom(DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:  # the interface is down
                log.debug("ARP: %s", error.strerror)
                continue
            claim = arp_claim(data)
            if claim is not None:
                self._take(*claim, interface=interface)

    def _nd_readable(self) -> None:
        assert self._nd is not None
        for _ in range(BATCH):
            try:
                data, ancillary, _, _ = self._nd.recvmsg(DATAGRAM, socket.CMSG_SPACE(20) + socket.CMSG_SPACE(4))
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("neighbour discovery: %s", error.strerror)
                continue
            control = {kind: content for level, kind, content in ancillary if level == socket.IPPROTO_IPV6}
            hops = struct.unpack("=i", control.get(socket.IPV6_HOPLIMIT, bytes(4)))[0]
            index = struct.unpack("=16xI", control.get(socket.IPV6_PKTINFO, bytes(20)))[0]
            claim = advertised(data)
            if claim is not None and hops == HOP_LIMIT:
                self._take(*claim, index=index)

    def _take(self, address: IPAddress, mac: str, interface: str = "", index: int = 0) -> None:
        fits = [
            q
            for q in self._queries
            if q.address == address and (q.source.interface == interface or q.source.index == index)
        ]
        for query in fits:
            query.answered(mac)
        if fits:
            with suppress(OSError):  # no memory for a longer filter: the answer may come again, which does no harm
                self._listen(address.version)


def open_who_has() -> WhoHas | None:
    """Opens the sockets; None if that is not permitted, which is logged."""
    try:
        return WhoHas()
    except OSError as error:
        log.warning(
            "two hosts with the same address will not be noticed: cannot open raw sockets (%s); start upnp-gw with"
            " CAP_NET_RAW and AF_PACKET",
            error.strerror,
        )
        return None


def _socket(family: int, kind: int, protocol: int) -> socket.socket:
    """A new socket. It receives nothing until it gets another filter."""
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        _filter(sock, NOTHING)
        while True:  # discard packets that came before the filter was set
            sock.recv(1)
    except BlockingIOError:
        return sock
    except BaseException:
        sock.close()
        raise


def _nd_socket() -> socket.socket:
    sock = _socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    attach(sock, packed(program))
