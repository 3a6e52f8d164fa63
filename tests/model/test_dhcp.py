"""Lease files of four servers; any bytes; and what a lease says of a host."""

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.policies import PC, PC6, PC_MAC, TV, TV_MAC, facts_of, map_request, policy_of
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Outcome
from upnp_gw.model.dhcp import Lease, LeaseFile, LeaseFileKind, Leases, lease_file_kind, parse_leases
from upnp_gw.model.network import Neighbour, Neighbours

END = 1_800_000_000.0
ENDS_AT = datetime.fromtimestamp(END, UTC)
DNSMASQ = f"""\
{END:.0f} {PC_MAC} {PC} PS5-lounge 01:02:00:00:00:00:23
0 {TV_MAC} {TV} * *
{END:.0f} 06-{PC_MAC} 192.168.1.99 infiniband *
3600 02:00:00:00:00:50 192.168.1.50 clockless *
duid 00:01:00:01:2a:3b:4c:5d:02:00:00:00:00:01
{END:.0f} 12345 2001:db8:1::42 six 00:01:00:01
"""
KEA = f"""\
address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
192.168.1.23,{PC_MAC},01:02,3600,{END - 600:.0f},1,0,0,old,0,,0
192.168.1.23,{PC_MAC},01:02,3600,{END:.0f},1,0,0,ps5-lounge.lan.,0,{{ "a": 1&#x2c "b": 2 }},0
192.168.1.40,{TV_MAC},,4294967295,{END:.0f},1,0,0,,0,,0
192.168.1.41,02:00:00:00:00:41,,3600,{END:.0f},1,0,0,gone,0,,0
192.168.1.41,02:00:00:00:00:41,,0,{END:.0f},1,0,0,gone,0,,0
192.168.1.42,02:00:00:00:00:42,,3600,{END:.0f},1,0,0,declined,1,,0
"""
ISC = f"""\
# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;
server-duid "\\000\\001}}{{;";
lease 192.168.1.23 {{
  starts 4 2026/01/01 00:00:00;
  ends 4 2026/01/01 01:00:00;
  binding state active;
  hardware ethernet 02:00:00:00:00:99;
}}
lease 192.168.1.23 {{
  starts 4 2026/01/01 00:00:00;
  ends {ENDS_AT:%w %Y/%m/%d %H:%M:%S};
  binding state active;
  next binding state free;
  hardware ethernet {PC_MAC.upper()};
  uid "\\001}}\\"\\002";
  set ddns-fwd-name = "x";
  on expiry {{ execute("rm"); }}
  client-hostname "PS5-lounge";
}}
lease 192.168.1.40 {{ ends never; hardware ethernet {TV_MAC}; }}
lease 192.168.1.41 {{ binding state free; hardware ethernet 02:00:00:00:00:41; }}
failover peer "dhcp" state {{ my state normal at 4 2026/01/01 00:00:00; }}
"""
NETWORKD = f"""{{"BootID":"0123","Address":[192,168,1,1],"PrefixLength":24,"Leases":[
{{"ClientId":[1,2,0,0,0,0,35],"Address":[192,168,1,23],"Hostname":"PS5-lounge","HardwareAddressType":1,
  "HardwareAddressLength":6,"HardwareAddress":[2,0,0,0,0,35],"ExpirationUSec":72338380895,
  "ExpirationRealtimeUSec":{END:.0f}000000}},
{{"ClientId":[1,2,0,0,0,0,64],"Address":[192,168,1,40]}}]}}"""


def by_address(parsed: LeaseFile) -> dict[str, Lease]:
    return {str(lease.address): lease for lease in parsed.leases}


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        (DNSMASQ, LeaseFileKind.DNSMASQ, 5),
        (KEA, LeaseFileKind.KEA, 2),
        (ISC, LeaseFileKind.ISC, 2),
        (NETWORKD, LeaseFileKind.NETWORKD, 2),
    ],
)
def test_the_file_of_each_server(text: str, kind: LeaseFileKind, count: int) -> None:
    assert lease_file_kind(text) is kind
    parsed = parse_leases(text.encode())
    assert (parsed.problem, len(parsed.leases)) == (None, count)
    found = by_address(parsed)
    first = found[str(PC)]
    assert (first.mac, first.expires, (first.name or "").lower()) == (PC_MAC, END, "ps5-lounge")
    assert (found[str(TV)].mac, found[str(TV)].expires, found[str(TV)].name) == (TV_MAC, None, None)


def test_dnsmasq_of_other_hardware_without_a_clock_and_over_ipv6() -> None:
    found = by_address(parse_leases(DNSMASQ.encode()))
    assert found["192.168.1.99"].mac is None
    assert found["192.168.1.50"].expires is None
    assert (found["2001:db8:1::42"].mac, found["2001:db8:1::42"].name) == (None, "six")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{END:.0f} {PC_MAC} nowhere x *\n{END:.0f} {PC_MAC} {PC} x *", "dnsmasq: line 1 cannot be read"),
        (f"{END:.0f} {PC_MAC} {PC} x *\n{END:.0f}", "dnsmasq: line 2: a lease must have 4 or 5 fields"),
        (KEA + "192.168.1.5,,,many,1\n", "kea: line 8 cannot be read"),
        (ISC + "lease 999.1.1.1 { }", "isc: lease '999.1.1.1' cannot be read"),
        ('{"Leases": 5}', "networkd: the file: Leases is not a list"),
        ('{"Leases": [', "networkd: the file cannot be read"),
        ('{"Leases": [{"Address": [1,2,3,400]}]}', "networkd: lease 1 cannot be read"),
        ('{"Leases": [{"Address": 1000000000000000}]}', "networkd: lease 1: Address is not a list"),
        (f"{'9' * 400} {PC_MAC} {PC} x *", "dnsmasq: line 1: a time that no clock shows"),
        (KEA + f"192.168.1.5,,,{'9' * 400},1\n", "kea: line 8: a time that no clock shows"),
        (KEA + f"192.168.1.5,,,60,{'9' * 400}\n", "kea: line 8: a time that no clock shows"),
        (f"lease {PC} {{ ends epoch {'9' * 400}; }}", f"isc: lease '{PC}': a time that no clock shows"),
        ("[global]\nx = 1", "not a lease file of dnsmasq, Kea, ISC dhcpd or systemd-networkd"),
        ("", None),
    ],
)
def test_an_unreadable_lease_is_reported_and_the_rest_is_read(text: str, problem: str | None) -> None:
    parsed = parse_leases(text.encode())
    assert parsed.problem == problem


@pytest.mark.spec("SR-20")
@pytest.mark.parametrize("end", ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"])
def test_a_host_name_begins_no_line_of_its_own(end: str) -> None:
    """Kea writes down the name that the host sent; only commas are replaced in it."""
    head, *_ = KEA.splitlines()
    parsed = parse_leases(f"{head}\n{PC},{PC_MAC},,3600,{END:.0f},1,0,0,x{end}{TV}&#x2c{PC_MAC},0,,0\n".encode())
    assert [(lease.address, lease.name) for lease in parsed.leases] == [(PC, None)]
    assert parsed.problem is None
    parsed = parse_leases(f"{END:.0f} {PC_MAC} {PC} x{end}{END:.0f} {PC_MAC} {TV} y *\n".encode())
    assert [lease.address for lease in parsed.leases] == [PC]


@given(
    st.binary(max_size=400)
    | st.sampled_from([DNSMASQ, KEA, ISC, NETWORKD]).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.binary(max_size=40), st.integers(0, 40)).map(
            lambda cut: text.encode()[: cut[0]] + cut[1] + text.encode()[cut[0] + cut[2] :]
        )
    )
)
def test_any_bytes_are_leases_or_a_problem(data: bytes) -> None:
    parsed = parse_leases(data)
    for lease in parsed.leases:
        assert lease.mac is None or len(lease.mac) == 17
        assert lease.name is None or (lease.name.isprintable() and len(lease.name) <= 63)


def test_deep_nesting_and_endless_strings_are_no_fault() -> None:
    assert parse_leases(b'{"Leases":' + b"[" * 200_000).problem is not None
    assert parse_leases(b"lease 1.2.3.4 {" + b"{" * 100_000).leases != ()
    parse_leases(b'lease 1.2.3.4 { uid "' + b"\\" * 100_001)


# -- what a lease says of a host

LEASES = Leases(parse_leases(DNSMASQ.encode()).leases)


def table(*entries: tuple[str, str]) -> Neighbours:
    known = Neighbours()
    for address, mac in entries:
        known.learn(Neighbour(ip_address(address), mac, "lan"))
    return known


HERE = table((str(PC), PC_MAC), (str(PC6), PC_MAC), (str(TV), TV_MAC))


@pytest.mark.parametrize(
    ("address", "mac", "neighbours", "wall", "known"),
    [
        (PC, PC_MAC, HERE, END - 1, ("PS5-lounge", True)),
        (PC, PC_MAC, HERE, END, (None, False)),  # expired
        (PC, TV_MAC, HERE, END - 1, (None, False)),  # the address of another host's lease
        (TV, TV_MAC, HERE, END * 2, (None, True)),  # never expires
        (IPv4Address("192.168.1.24"), PC_MAC, HERE, END - 1, (None, False)),  # its MAC, but not its address
        (PC, None, HERE, END - 1, ("PS5-lounge", False)),  # behind another router: no MAC to compare
        (PC6, PC_MAC, HERE, END - 1, ("PS5-lounge", True)),  # IPv6 follows the MAC
        (PC6, PC_MAC, HERE, END, (None, False)),
        (PC6, PC_MAC, table((str(PC6), PC_MAC)), END - 1, ("PS5-lounge", True)),  # IPv4 is idle
        (PC6, PC_MAC, table((str(PC), TV_MAC)), END - 1, (None, False)),  # its IPv4 is another's now
        (IPv6Address("2001:db8:1::99"), "02:00:00:00:00:98", HERE, END - 1, (None, False)),
    ],
)
def test_name_and_agreement(
    address: IPv4Address | IPv6Address,
    mac: str | None,
    neighbours: Neighbours,
    wall: float,
    known: tuple[str | None, bool],
) -> None:
    assert LEASES.known(address, mac, neighbours, wall) == known


def test_of_two_leases_for_one_address_the_later_end_counts() -> None:
    old = Lease(PC, TV_MAC, "old", END - 10)
    new = Lease(PC, PC_MAC, "new", END)
    for order in ((old, new), (new, old)):
        assert Leases(order).known(PC, PC_MAC, HERE, END - 20) == ("new", True)


@pytest.mark.parametrize(
    ("assure", "facts", "allowed"),
    [
        ("mac", {"dhcp_name": "ps5-LOUNGE"}, True),
        ("mac", {"dhcp_name": "other"}, False),
        ("mac", {}, False),
        ("lease", {"dhcp_name": "PS5-lounge", "lease_agrees": True}, True),
        ("lease", {"dhcp_name": "PS5-lounge", "lease_agrees": False}, False),
        ("lease", {"restoring": True}, True),  # the lease file may not have been read yet
    ],
)
def test_a_device_that_must_be_assured_by_its_lease(assure: str, facts: dict[str, Any], allowed: bool) -> None:
    policy = policy_of(f"""
    [device.ps5]
    mac = ["{PC_MAC}"]
    dhcp_name = "PS5-lounge"
    assure = "{assure}"
    [[grant]]
    name = "games"
    who = "ps5"
    """)
    verdict = decide(policy, facts_of(**facts), map_request())
    assert (verdict.outcome is Outcome.ALLOW) is allowed
