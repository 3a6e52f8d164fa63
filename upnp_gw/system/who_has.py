"""Asks all hosts of a link who has an address, and hears every answer.

The kernel's neighbour table cannot tell that two hosts answer: it keeps the first answer for a second and drops the
rest. So these are sockets of our own, made while CAP_NET_RAW is there; they need no capability afterwards.
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
"""Neighbour discovery with any other one came from another link (RFC 4861 section 7.1)."""
DATAGRAM = 2048
BATCH = 64
MOST_HEARD = 3
"""Most answers that are kept for one question: two hosts are already a conflict."""


@dataclass(frozen=True, slots=True)
class QuerySource:
    """The gateway's side of a LAN link, from which it asks."""

    interface: str
    index: int
    mac: str
    own: IPAddress | None
    """An address of the gateway on the link, of the same family. (IPv6: the kernel chooses one.)"""


class AddressQuery:
    """One question to all hosts. ``ask`` as often as needed; ``close`` at the end."""

    by_kernel = False

    def __init__(self, who_has: "WhoHas", asker: QuerySource, address: IPAddress) -> None:
        self.address = address
        self.asker = asker
        self.answers: dict[str, None] = {}
        """The MAC addresses that have answered, in order."""
        self.heard = asyncio.Event()
        """Set at each new one."""
        self._who_has = who_has

    def ask(self, *hosts: str) -> None:
        """Asks all hosts of the link, and these ones by their MAC address too where that is possible (IPv4).

        Raises OSError.
        """
        self._who_has.send(self, hosts)

    def answered(self, mac: str) -> None:
        if mac not in self.answers and len(self.answers) < MOST_HEARD:
            self.answers[mac] = None
            self.heard.set()

    def close(self) -> None:
        self._who_has.end(self)


class WhoHas:
    """The sockets that ask and hear. Making them needs root or CAP_NET_RAW, in the net namespace of the LAN.

    Raises OSError. ``start`` and everything after it on the event loop's thread.
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
        self._questions: set[AddressQuery] = set()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._arp, self._arp_readable)
        if self._nd is not None:
            loop.add_reader(self._nd, self._nd_readable)

    def close(self) -> None:
        for made in (self._arp, self._nd):
            if made is not None:
                with suppress(RuntimeError):  # closed without having been started
                    asyncio.get_running_loop().remove_reader(made)
                made.close()

    def begin(self, asker: QuerySource, address: IPAddress) -> AddressQuery:
        """A question whose answers are heard from now on. Raises OSError where the kernel has no room for it."""
        question = AddressQuery(self, asker, address)
        self._questions.add(question)
        try:
            self._listen(address.version)
        except OSError:
            self._questions.discard(question)
            raise
        return question

    def end(self, question: AddressQuery) -> None:
        if question in self._questions:
            self._questions.discard(question)
            with suppress(OSError):  # no room for another filter: the old one lets more through, which does no harm
                self._listen(question.address.version)

    def send(self, question: AddressQuery, hosts: Sequence[str]) -> None:
        asker, address = question.asker, question.address
        if isinstance(address, IPv4Address):
            if not isinstance(asker.own, IPv4Address):
                raise OSError(errno.EADDRNOTAVAIL, "the link has no IPv4 address")
            request = arp_request(asker.mac, asker.own, address)
            for to in (BROADCAST, *(bytes.fromhex(mac.replace(":", "")) for mac in hosts)):
                self._arp.sendto(request, (asker.interface, ETH_P_ARP, 0, 0, to))
        elif self._nd is not None:
            to_all = (str(solicited_node(address)), 0, 0, asker.index)
            self._nd.sendto(solicitation(asker.mac, address), to_all)

    # -- answers

    def _listen(self, version: int) -> None:
        """Makes the kernel let through answers to open questions that were not heard yet."""
        heard: dict[tuple[IPAddress, int], tuple[str, ...]] = {}
        for question in self._questions:
            if question.address.version == version:
                place = (question.address, question.asker.index)
                known = heard.get(place, question.answers)
                heard[place] = tuple(mac for mac in question.answers if mac in known)
        open_now = [OpenQuery(address, index, macs) for (address, index), macs in heard.items()]
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
            except OSError as error:  # the interface went down
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
            told = {kind: content for level, kind, content in ancillary if level == socket.IPPROTO_IPV6}
            hops = struct.unpack("=i", told.get(socket.IPV6_HOPLIMIT, bytes(4)))[0]
            index = struct.unpack("=16xI", told.get(socket.IPV6_PKTINFO, bytes(20)))[0]
            claim = advertised(data)
            if claim is not None and hops == HOP_LIMIT:
                self._take(*claim, index=index)

    def _take(self, address: IPAddress, mac: str, interface: str = "", index: int = 0) -> None:
        fits = [
            q
            for q in self._questions
            if q.address == address and (q.asker.interface == interface or q.asker.index == index)
        ]
        for question in fits:
            question.answered(mac)
        if fits:
            with suppress(OSError):  # no room for a longer filter: it may be heard again, which does no harm
                self._listen(address.version)


def hear_all_hosts() -> WhoHas | None:
    """Makes the sockets; None: that is not permitted, which is logged."""
    try:
        return WhoHas()
    except OSError as error:
        log.warning(
            "if two hosts answer for one address, only one of them is heard: the sockets that hear both cannot be"
            " made (%s; at the start they need CAP_NET_RAW and AF_PACKET)",
            error.strerror,
        )
        return None


def _socket(family: int, kind: int, protocol: int) -> socket.socket:
    """A new socket. It receives nothing until it gets another filter."""
    made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        _filter(made, NOTHING)
        while True:  # what came before the filter was there
            made.recv(1)
    except BlockingIOError:
        return made
    except BaseException:
        made.close()
        raise


def _nd_socket() -> socket.socket:
    made = _socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    except BaseException:
        made.close()
        raise
    return made


def _filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    attach(sock, packed(program))
