"""The network's values: who is on a LAN, whose address it is, which MAC is behind it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.model.device import lan_of, mac_of
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.model.network import (
    GatewayPorts,
    Link,
    Neighbour,
    Neighbours,
    Network,
    shared_prefixes,
)

LAN0 = Link(
    "lan0", 2, True, (ip_interface("192.168.1.1/24"), ip_interface("2a11::1/64"), ip_interface("fe80::1/64"))
)
LAN1 = Link("lan1", 3, True, (ip_interface("192.168.2.1/24"), ip_interface("fe80::1/64")))
WAN = Link("wan0", 4, True, (ip_interface("11.0.0.2/24"), ip_interface("2a22::2/64")))
NETWORK = Network(
    WAN,
    (LAN0, LAN1),
    routed=(ip_network("10.5.0.0/16"), ip_network("fd05::/48"), ip_network("10.6.0.0/16")),
    routed_on=("lan0", "lan1", ""),
    external=(IPv4Address("11.9.9.9"),),
)


def a(text: str) -> IPAddress:
    return ip_address(text)


@pytest.mark.parametrize(
    ("address", "external"),
    [
        ("192.168.1.9", "192.168.1.9"),
        ("192.168.2.9", "11.9.9.9"),
        ("10.5.200.1", "10.5.200.1"),
        ("2a11::9", "2a11::9"),
        ("fd05::1", "fd05::1"),
    ],
)
def test_the_external_address_of_a_host(address: str, external: str) -> None:
    mixed = replace(NETWORK, without_nat=frozenset({"lan0"}))
    assert mixed.external_of(a(address)) == a(external)
    assert replace(mixed, external=()).external_of(a("192.168.2.9")) is None
    assert NETWORK.has_nat
    assert mixed.has_nat
    assert not replace(NETWORK, without_nat=frozenset({"lan0", "lan1"})).has_nat


@pytest.mark.parametrize(
    ("address", "on"),
    [
        ("192.168.1.9", {"lan0"}),
        ("192.168.2.9", {"lan1"}),
        ("2a11::9", {"lan0"}),
        ("fe80::9", {"lan0", "lan1"}),
        ("10.5.200.1", {"lan0"}),
        ("fd05::1", {"lan1"}),
        ("10.6.0.1", set()),
        ("192.168.3.9", set()),
        ("11.0.0.9", set()),
        ("2a22::9", set()),
        ("0.0.0.0", set()),
        ("::ffff:192.168.1.9", set()),
    ],
)
@pytest.mark.spec("SR-1")
def test_which_lan_an_address_may_come_from(address: str, on: set[str]) -> None:
    assert {link.name for link in NETWORK.lans if NETWORK.on_link(a(address), link.name)} == on
    assert NETWORK.on_lan(a(address)) == (bool(on) or address == "10.6.0.1")
    assert not NETWORK.on_link(a(address), "wan0")


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("192.168.1.1", True),
        ("fe80::1", True),
        ("11.0.0.2", True),
        ("2a22::2", True),
        ("11.9.9.9", True),
        ("192.168.1.2", False),
        ("11.0.0.3", False),
    ],
)
def test_which_addresses_are_the_gateways(address: str, own: bool) -> None:
    assert NETWORK.is_gateway(a(address)) is own


@pytest.mark.parametrize(
    ("address", "lan"),
    [
        ("192.168.1.20", "lan0"),
        ("192.168.2.20", "lan1"),
        ("192.168.3.20", "lan0"),
        ("192.168.3.130", "lan1"),
        ("2a11::20", "lan0"),
        ("fe80::20", ""),
        ("10.5.0.1", "lan0"),
        ("11.0.0.9", ""),
    ],
)
def test_the_longest_prefix_says_which_lan_an_address_is_on(address: str, lan: str) -> None:
    """As the kernel routes: a host of the wider prefix's LAN must not pass for one of the narrower."""
    wide, narrow = ip_interface("192.168.3.1/24"), ip_interface("192.168.3.129/25")
    shared = ip_interface("192.168.1.2/24")
    lans = (
        replace(LAN0, addresses=(*LAN0.addresses, wide)),
        replace(LAN1, addresses=(*LAN1.addresses, shared, narrow)),
    )
    network = replace(NETWORK, lans=lans)
    assert network.lan_of(a(address)) == lan
    if lan:
        assert [name for name in network.lan_names if network.on_link(a(address), name)] == [lan]


def test_with_one_lan_a_routed_prefix_is_behind_it() -> None:
    alone = replace(NETWORK, lans=(LAN0,), routed_on=())
    assert alone.on_link(a("10.5.200.1"), "lan0")
    assert alone.on_link(a("10.6.0.1"), "lan0")
    assert alone.lan_of(a("10.5.200.1")) == "", "its neighbour entry, where it has one, is on the only LAN"


def test_two_lans_with_the_same_prefix_are_reported() -> None:
    shared = replace(LAN1, addresses=(*LAN1.addresses, *LAN0.addresses))
    assert shared_prefixes((LAN0, LAN1)) == ()
    sentences = shared_prefixes((LAN0, shared))
    assert [text.partition(":")[0] for text in sentences] == [
        "lan0 and lan1 have the same prefix 192.168.1.0/24",
        "lan0 and lan1 have the same prefix 2a11",
    ]


def test_a_device_is_called_by_its_lan_only_where_there_are_several() -> None:
    mac = "02:00:00:00:00:01"
    assert NETWORK.device_id(mac, "lan1") == f"{mac}@lan1"
    assert replace(NETWORK, lans=(LAN0,)).device_id(mac, "lan0") == mac
    assert (mac_of(f"{mac}@lan1"), lan_of(f"{mac}@lan1"), mac_of(mac), lan_of(mac)) == (mac, "lan1", mac, "")
    assert (mac_of("192.168.1.20"), mac_of("operator"), mac_of("2001:db8:0:1::1:2")) == (None, None, None)


def test_a_neighbour_is_known_by_interface_and_a_conflict_is_no_answer() -> None:
    known = Neighbours()
    known.learn(Neighbour(a("fe80::9"), "02:00:00:00:00:01", "lan0"))
    assert known.mac_of(a("fe80::9")) == "02:00:00:00:00:01"
    known.learn(Neighbour(a("fe80::9"), "02:00:00:00:00:02", "lan1"))
    assert known.mac_of(a("fe80::9")) is None
    assert known.mac_of(a("fe80::9"), "lan0") == "02:00:00:00:00:01"
    assert known.mac_of(a("fe80::9"), "lan1") == "02:00:00:00:00:02"
    assert known.mac_of(a("fe80::9"), "lan2") is None
    known.forget(a("fe80::9"), "lan0")
    assert known.mac_of(a("fe80::9")) == "02:00:00:00:00:02"
    assert known.addresses_of("02:00:00:00:00:01") == frozenset()


def test_learning_another_mac_gives_the_entry_it_replaced() -> None:
    known = Neighbours()
    first = Neighbour(a("192.168.1.9"), "02:00:00:00:00:01", "lan0")
    second = Neighbour(a("192.168.1.9"), "02:00:00:00:00:02", "lan0")
    assert known.learn(first) is None
    assert known.learn(first) is None
    assert known.learn(second) == first
    assert known.addresses_of(first.mac) == frozenset()
    assert known.addresses_of(second.mac) == {a("192.168.1.9")}


ENTRIES = st.builds(
    Neighbour,
    st.sampled_from([a("10.0.0.1"), a("10.0.0.2"), a("fe80::1")]),
    st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"]),
    st.sampled_from(["lan0", "lan1"]),
)


@given(st.lists(st.tuples(st.sampled_from(["learn", "forget", "forget all"]), ENTRIES), max_size=40))
def test_both_ways_of_looking_agree(steps: list[tuple[str, Neighbour]]) -> None:
    known, model = Neighbours(), dict[tuple[IPAddress, str], str]()
    for step, entry in steps:
        if step == "learn":
            known.learn(entry)
            model[entry.address, entry.interface] = entry.mac
        else:
            only = entry.interface if step == "forget" else None
            known.forget(entry.address, only)
            model = {k: mac for k, mac in model.items() if k[0] != entry.address or only not in (None, k[1])}
    assert {(e.address, e.interface): e.mac for e in known.all()} == model
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
        assert known.addresses_of(mac) == {address for (address, _), m in model.items() if m == mac}
        for lan in ("lan0", "lan1"):
            own = {address for (address, on), m in model.items() if (m, on) == (mac, lan)}
            assert known.addresses_of(mac, lan) == own
            assert (lan in known.interfaces_of(mac)) == bool(own)
    for address in (a("10.0.0.1"), IPv6Address("fe80::1")):
        macs = [mac for (at, _), mac in model.items() if at == address]
        assert known.mac_of(address) == (macs[0] if len(macs) == 1 else None), "two LANs are two hosts"


@pytest.mark.spec("SR-24")
def test_the_gateways_ports_are_of_one_transport() -> None:
    ports = GatewayPorts(frozenset({(Transport.TCP, 22)}), frozenset({(Transport.UDP, 500)}))
    assert ports.holds(Transport.TCP, 22)
    assert ports.holds(Transport.UDP, 500)
    assert not ports.holds(Transport.UDP, 22)
    assert not ports.holds(Transport.TCP, 500)


def test_lan_hosts_holds_the_lans_and_the_gateways_own_addresses() -> None:
    assert [str(net) for net in NETWORK.lan_hosts] == [
        "10.5.0.0/16", "10.6.0.0/16", "11.0.0.2/32", "11.9.9.9/32", "192.168.1.0/24", "192.168.2.0/24",
        "2a11::/64", "2a22::2/128", "fd05::/48",
    ]  # fmt: skip
    routed = (ip_network("192.168.0.0/16"), ip_network("2a22::/48"), ip_network("11.0.0.0/23"))
    wide = replace(NETWORK, routed=routed, routed_on=("", "", ""))

    def comes(text: str) -> bool:
        return not any(ip_address(text) in net for net in wide.lan_hosts)

    assert not comes("11.0.1.9")
    assert comes("11.0.0.9"), "the WAN's own prefix is outside"
    assert comes("2a22::9")
    assert not comes("11.0.0.2"), "our own address in it is not"
    assert not comes("2a22::2")
    assert not comes("192.168.7.7")
