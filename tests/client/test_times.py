"""Retransmissions, renewals, the epoch, routes, nonces and listeners: pure parts of the client."""

from ipaddress import IPv4Address, IPv6Address
from itertools import islice, pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.client.listening import ListeningPort, listeners
from upnp_gw.client.mapping_request import RequestedMapping
from upnp_gw.client.route import parse_addresses6, parse_routes4, parse_routes6
from upnp_gw.client.secret import load_secret, nonces, secret_path
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.client_times import natpmp_waits, pcp_waits, recover_in, renew_in
from upnp_gw.protocols.epoch_watch import EpochWatch
from upnp_gw.system.sock_diag import BoundSocket

TCP, UDP = Transport.TCP, Transport.UDP


def test_natpmp_sends_nine_times_from_250_ms_to_64_s() -> None:
    assert list(natpmp_waits()) == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]


@given(st.integers())
def test_pcp_waits_double_from_3_s_and_stop_growing_at_1024(seed: int) -> None:
    waits = list(islice(pcp_waits(Random(seed).uniform), 14))
    assert 2.7 <= waits[0] <= 3.3
    assert all(1.8 * a <= b <= 2.2 * a or b >= 0.9 * 1024 for a, b in pairwise(waits))
    assert all(wait <= 1.1 * 1024 for wait in waits)


@given(st.integers(0, 6), st.integers(60, 86400), st.integers())
def test_renewals_come_at_half_of_the_remaining_lifetime(failures: int, lifetime: int, seed: int) -> None:
    part = renew_in(lifetime, failures, Random(seed).uniform) / lifetime
    low = 1 - 0.5 ** (failures + 1)
    least = 4 * (failures + 1) / lifetime
    assert max(low, least) <= part <= max(low + 0.125 * 0.5**failures, least)


def test_renewals_are_never_closer_than_4_s_and_recovery_is_spread_over_5() -> None:
    assert renew_in(1, 0, min) == 4
    assert [recover_in(pick) for pick in (min, max)] == [0, 5]


CASES: dict[str, tuple[list[tuple[float, int]], bool]] = {
    "the first is taken as it is": ([(0, 500)], False),
    "true time": ([(0, 500), (600, 1100)], False),
    "one second behind": ([(0, 500), (0.4, 499)], False),
    "behind": ([(0, 500), (10, 3)], True),
    "too slow": ([(0, 0), (1000, 930)], True),
    "slow within a sixteenth": ([(0, 0), (1000, 940)], False),
    "too fast": ([(0, 0), (1000, 1100)], True),
    "fast within a sixteenth": ([(0, 0), (1000, 1060)], False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_epoch_of_pcp(case: str) -> None:
    pairs, state_lost = CASES[case]
    watch = EpochWatch()
    assert [watch.state_lost(epoch, now) for now, epoch in pairs][-1] is state_lost


def test_the_epoch_of_natpmp_is_lost_only_if_it_is_behind() -> None:
    for epoch_s, state_lost in ((5000, False), (880, False), (860, True)):
        watch = EpochWatch()
        assert not watch.state_lost(0, 0, jump_is_loss=False)
        assert watch.state_lost(epoch_s, 1000, jump_is_loss=False) is state_lost


ROUTE4 = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t014DA8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
rubbish
"""
ZERO = "0" * 32
ROUTE6 = f"""{ZERO} 00 {ZERO} 00 fe80000000000000000000000000abcd 00000400 00000001 00000000 00000003 eth0
{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200 lo
20010db8000000000000000000000000 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001 eth0
"""
IF_INET6 = """20010db8000000000000000000000010 02 40 00 80 eth0
20010db80000000000000000000000aa 02 40 00 01 eth0
20010db80000000000000000000000bb 02 40 00 20 eth0
fd770000000000000000000000000010 02 40 00 80 eth0
fe800000000000000000000000000010 02 40 20 80 eth0
20010db8000000000000000000000011 03 40 00 80 eth1
"""


def test_default_routes_and_lasting_addresses() -> None:
    assert parse_routes4(ROUTE4.splitlines()) == [
        (100, IPv4Address("192.168.2.1"), "eth0"),
        (600, IPv4Address("192.168.77.1"), "wlan0"),
    ]
    assert parse_routes6(ROUTE6.splitlines()) == [(1024, IPv6Address("fe80::abcd"), "eth0")]
    assert parse_addresses6(IF_INET6.splitlines(), "eth0") == [IPv6Address("2001:db8::10")]


def test_a_nonce_is_the_same_for_the_same_request_and_the_same_secret(tmp_path: Path) -> None:
    path = secret_path({"XDG_STATE_HOME": str(tmp_path)})
    secret = load_secret(path)
    assert load_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    requested = RequestedMapping(TCP, 8080, 8080, 60)
    found = {
        nonces(secret)(w)
        for w in (requested, RequestedMapping(UDP, 8080, 8080, 60), RequestedMapping(TCP, 8080, 8080, 60, 6))
    }
    assert {len(nonce) for nonce in found} == {12}
    assert len(found) == 3
    assert nonces(secret)(RequestedMapping(TCP, 8080, 9, 3600)) == nonces(secret)(requested), (
        "a renewal may wish for another port"
    )
    assert nonces(b"x" * 32)(requested) not in found


def test_a_secret_that_cannot_be_stored_is_used_anyway(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(load_secret(tmp_path / "file" / "secret")) == 32
    assert secret_path({"HOME": "/home/a"}) == Path("/home/a/.local/state/upnp-gw/request-secret")


def test_listeners_that_other_hosts_can_reach() -> None:
    def bound(transport: Transport, address: str, port: int) -> BoundSocket:
        return BoundSocket(transport, IPv6Address(address) if ":" in address else IPv4Address(address), port, 1)

    found = listeners(
        [
            bound(TCP, "0.0.0.0", 8080),
            bound(TCP, "::", 8080),
            bound(TCP, "127.0.0.1", 5432),
            bound(TCP, "::1", 6379),
            bound(TCP, "fe80::1", 22),
            bound(UDP, "192.168.77.10", 3074),
            bound(UDP, "0.0.0.0", 45000),
            bound(TCP, "0.0.0.0", 45000),
        ],
        (32768, 60999),
    )
    assert found == [ListeningPort(TCP, 8080), ListeningPort(TCP, 45000), ListeningPort(UDP, 3074)]
    assert [str(one) for one in found] == ["tcp/8080", "tcp/45000", "udp/3074"]
