"""Announcements of the emulator, and the order of what falls due while a test moves the clock."""

import socket
import struct
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from tests.testing.test_journal import map_port
from upnp_gw.testing import Emulator

GROUP = "239.255.255.250"


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A control point on the loopback that only listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((GROUP, 1900))
        member = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton("127.0.0.1"))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.settimeout(10)
        yield sock


def heard(sock: socket.socket, address: str, nts: str) -> str:
    """The next such announcement from an address."""
    while True:
        data, sender = sock.recvfrom(2048)
        if sender[0] == address and f"NTS: {nts}\r\n" in data.decode():
            return data.decode()


def test_a_control_point_hears_it_come_and_go() -> None:
    with listening() as sock:
        with Emulator(multicast=True) as igd:
            address, location = igd.gateway_address, igd.location_v1
            assert location in heard(sock, address, "ssdp:alive")
            alive = igd.announcements.wait_for(nts="ssdp:alive", nt="upnp:rootdevice", location=location)
            first = alive.boot_id
            assert alive.usn.endswith("::upnp:rootdevice")
            assert str(alive) == f"ssdp:alive of upnp:rootdevice, BOOTID {first}"
            igd.reset()
            igd.reboot()
            heard(sock, address, "ssdp:byebye")
            heard(sock, address, "ssdp:alive")
            again = igd.announcements.wait_for(nts="ssdp:alive", location=location)
            assert again.boot_id > first
            nts = [row.nts for row in igd.announcements]
            assert nts.index("ssdp:byebye") < nts.index("ssdp:alive")
        heard(sock, address, "ssdp:byebye")


def test_a_new_boot_id_is_announced_without_a_restart() -> None:
    with listening() as sock, Emulator(multicast=True) as igd:
        before = igd.announcements.wait_for(nts="ssdp:alive")
        map_port(igd)
        igd.change_boot_id()
        update = heard(sock, igd.gateway_address, "ssdp:update")
        after = igd.announcements.wait_for(nts="ssdp:alive", boot_id=before.boot_id + 1)
        assert f"NEXTBOOTID.UPNP.ORG: {after.boot_id}\r\n" in update
        assert igd.announcements.find(nts="ssdp:update")[0].boot_id == before.boot_id
        assert igd.mappings.one().external_port == 8080


def test_announcements_are_no_requests() -> None:
    with Emulator(multicast=True) as one, Emulator(multicast=True) as other:
        for igd in (one, other):
            igd.announcements.wait_for(nts="ssdp:alive", count=12)
            urllib.request.urlopen(igd.location).read()
            assert [request.action for request in igd.requests] == ["GET"]


def test_without_multicast_nothing_is_announced() -> None:
    with Emulator() as igd:
        igd.advance(hours=1)
        assert not igd.announcements


def test_what_falls_due_happens_in_its_order_and_at_its_time() -> None:
    with Emulator(multicast=True) as igd:
        map_port(igd)
        igd.announcements.wait_for(nts="ssdp:alive")
        igd.reset()
        igd.advance(minutes=59, seconds=59)
        assert igd.mappings.one().left_s == 1
        times = sorted({round(row.at_s) for row in igd.announcements.find(nt="upnp:rootdevice")})
        pauses = [later - sooner for sooner, later in pairwise(times) if sooner > 10]
        assert len(pauses) >= 3
        assert all(445 <= pause <= 815 for pause in pauses), "a quarter to 0.45 of max-age 1800 (IGD section 2.4)"
        igd.advance(seconds=1)
        assert not igd.mappings
