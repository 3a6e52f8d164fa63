"""Long lists of addresses: the transactions that bring the kernel from one to the other, and what it has then."""

from ipaddress import IPv6Network, ip_network

import pytest
from hypothesis import given

from tests.firewall.nftables.test_element_messages import bare
from tests.fixtures.firewall_driver import settings
from tests.model.test_address_ranges import UNIVERSE, networks
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.nftables.backend import REMOVE
from upnp_gw.firewall.nftables.element_writer import LibnftablesWriter, NetlinkWriter
from upnp_gw.firewall.nftables.host_messages import RUNS_EACH, Run, batch, changes, portions
from upnp_gw.firewall.nftables.ruleset import contents, screens_declared, structure
from upnp_gw.lab import Host
from upnp_gw.model.address_ranges import EVERY_ADDRESS, NO_ADDRESSES, AddressRanges, IPNetwork

__all__ = ["bare"]
HOSTS = "h0123456789a"


@given(networks, networks)
def test_every_address_changes_once_and_in_one_transaction(one: list[IPNetwork], two: list[IPNetwork]) -> None:
    before, now = AddressRanges.of(one), AddressRanges.of(two)
    for version in (4, 6):
        runs = changes(before, now, version)
        split = list(portions(runs, 1))
        assert [run for portion in split for run in portion] == runs
        spans = set(before.spans(version))
        for portion in split:
            for run in portion:
                if not run.adds:
                    spans.remove((run.first, run.last))
            spans |= {(run.first, run.last) for run in portion if run.adds}
            meanwhile = AddressRanges.of_spans(spans if version == 4 else (), spans if version == 6 else ())
            for address in UNIVERSE:
                if address.version == version:
                    assert meanwhile.has(address) in (before.has(address), now.has(address))
        assert spans == set(now.spans(version))


def test_no_message_is_longer_than_its_attributes_can_say() -> None:
    runs = [Run(n << 64, True, (n << 64) + 5) for n in range(3 * RUNS_EACH + 1)]
    messages = batch(f"{HOSTS}_6", 6, runs)
    assert max(map(len, messages)) < 1 << 16
    assert len(messages) == 2 + 4


LISTS = [
    AddressRanges.of([ip_network("203.0.113.0/24"), ip_network("8.8.8.8/32"), ip_network("2001:db8::/32")]),
    AddressRanges.of([ip_network("203.0.113.128/25"), ip_network("0.0.0.0/8"), ip_network("255.255.255.255/32")]),
    EVERY_ADDRESS,
    AddressRanges.of(IPv6Network((0x20010DB8 << 96 | n << 64, 64)) for n in range(0, 4000, 2)),
    AddressRanges.of([ip_network("203.0.112.0/23"), ip_network("ffff::/16")]),
    NO_ADDRESSES,
]


@pytest.mark.lab
def test_the_kernel_has_the_same_after_messages_and_after_commands(bare: Host) -> None:
    def work() -> None:
        wanted = settings(FirewallMode.ROUTER)
        session = Session()
        session.run(REMOVE + structure(wanted) + contents(wanted) + screens_declared(wanted, (), (HOSTS,)))
        seen = []
        for writer in (NetlinkWriter(), LibnftablesWriter(session)):
            before = NO_ADDRESSES
            for now in LISTS:
                writer.fill_hosts(HOSTS, before, now)
                seen.append([session.text(f"list set inet upnp_gw {HOSTS}_{version}") for version in (4, 6)])
                before = now
            writer.close()
        half = len(LISTS)
        assert seen[:half] == seen[half:]
        assert "8.8.8.8" in seen[0][0]
        assert "elements" not in seen[half - 1][0]

    bare.call(work)
