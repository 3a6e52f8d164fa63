"""Waits until the hosts of a lab answer for their IPv6 addresses.

The kernel joins the multicast group of a new address, by which a host is asked for it, in a work queue: on a busy
machine seconds after the command that added the address. Until then nobody finds the host. There is no event.
"""

import time
from ipaddress import IPv6Address
from pathlib import Path

from upnp_gw.lab.host import Host

LONGEST_S = 20.0
TENTATIVE = 0x40
"""IFA_F_TENTATIVE (linux/if_addr.h): the kernel does not send from the address yet."""
SOLICITED = int(IPv6Address("ff02::1:ff00:0"))
"""RFC 4291 section 2.7.1; the last 24 bits are those of the address."""


class AddressesLate(Exception):
    """The kernel does not serve the addresses of a host."""


def await_addresses(*hosts: Host) -> None:
    """Returns when the hosts, whose links are up, have the groups of all their addresses.

    Raises AddressesLate after ``LONGEST_S``.
    """
    end = time.monotonic() + LONGEST_S
    for host in hosts:
        while missing := host.call(_unserved):
            if time.monotonic() > end:
                raise AddressesLate(f"{host.name} does not answer for {', '.join(map(str, missing))}")
            time.sleep(0.005)


def _unserved() -> list[IPv6Address]:
    """The addresses in the calling thread's namespace that nobody can ask for yet."""
    net = Path("/proc/thread-self/net")
    groups: dict[str, set[int]] = {}
    for line in _lines(net / "igmp6"):
        _, interface, group, *_ = line.split()
        groups.setdefault(interface, set()).add(int(group, 16))
    late = []
    for line in _lines(net / "if_inet6"):
        address, _, _, _, flags, interface = line.split()
        own = int(address, 16)
        unjoined = SOLICITED | own & 0xFFFFFF not in groups.get(interface, set())
        if interface != "lo" and (unjoined or int(flags, 16) & TENTATIVE):
            late.append(IPv6Address(own))
    return late


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []
