"""The sets of our own interfaces and addresses: messages of our own and nft commands make the same of them."""

import re
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_network

import pytest

from tests.firewall.nftables.test_element_messages import bare
from tests.fixtures.firewall_driver import settings
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.nftables.backend import REMOVE
from upnp_gw.firewall.nftables.element_edits import Edits
from upnp_gw.firewall.nftables.element_writer import LibnftablesWriter, NetlinkWriter
from upnp_gw.firewall.nftables.own_set_messages import own_elements
from upnp_gw.firewall.nftables.ruleset import contents, structure
from upnp_gw.lab import Host
from upnp_gw.model.network import Link, Network

__all__ = ["bare"]
HOME = Network(
    Link("wan0", 1, True),
    (
        Link("lan0", 2, True, (IPv4Interface("192.168.1.1/24"), IPv6Interface("2001:db8:1::1/64"))),
        Link("a-long.name_15", 3, True, (IPv4Interface("192.168.5.1/24"), IPv6Interface("fd00:1::1/64"))),
        Link("open", 4, True, (IPv4Interface("11.22.40.1/24"),)),
    ),
    external=(IPv4Address("11.22.33.44"), IPv4Address("11.22.33.45")),
    routed=(ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")),
    without_nat=frozenset({"open"}),
)
NOTHING = Network(Link("ppp0", 1, False), ())


@pytest.mark.lab
def test_the_kernel_has_the_same_after_messages_and_after_commands(bare: Host) -> None:
    def work() -> None:
        wanted = settings(FirewallMode.ROUTER, HOME)
        session = Session()
        session.run(REMOVE + structure(wanted) + contents(wanted))
        seen = []
        for writer in (NetlinkWriter(), LibnftablesWriter(session)):
            for network in (HOME, NOTHING, HOME):
                writer.write(Edits(network))
                seen.append([words(session, name) for name in own_elements(network)])
            writer.close()
        assert seen[:3] == seen[3:]
        assert seen[0] == seen[2] != seen[1]
        assert all("elements" in text for text in seen[0])

    def words(session: Session, name: str) -> set[str]:
        """A hash set has no order."""
        return set(re.split(r"[\s,]+", session.text(f"list set inet upnp_gw {name}")))

    bare.call(work)
