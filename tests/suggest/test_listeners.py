"""The output of ss and netstat, of several systems, and any other text."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.load import load_text
from upnp_gw.model.mapping import Transport
from upnp_gw.suggest.document import suggest_policy
from upnp_gw.suggest.listeners import Listener, learn_from, parse_listeners

TCP, UDP = Transport.TCP, Transport.UDP

SS = """\
Netid State  Recv-Q Send-Q      Local Address:Port  Peer Address:PortProcess
udp   UNCONN 0      0           127.0.0.53%lo:53         0.0.0.0:*    users:(("systemd-resolve",pid=610,fd=13))
udp   UNCONN 0      0                 0.0.0.0:5353       0.0.0.0:*    users:(("avahi-daemon",pid=700,fd=12))
udp   UNCONN 0      0                       *:51413            *:*    users:(("transmission-da",pid=812,fd=20))
udp   ESTAB  0      0      192.168.1.23%eth0:68     192.168.1.1:67   users:(("NetworkManager",pid=1,fd=2))
tcp   LISTEN 0      128               0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=900,fd=3))
tcp   LISTEN 0      511                  [::]:443           [::]:*    users:(("nginx",pid=1,fd=6),("nginx",pid=2
tcp   LISTEN 0      4096            127.0.0.1:631        0.0.0.0:*    users:(("cupsd",pid=3,fd=7))
tcp   LISTEN 0      128                 [::1]:631           [::]:*
tcp   LISTEN 0      128    [fe80::1]%eth0:8443          [::]:*
tcp   ESTAB  0      0            192.168.1.23:22     192.168.1.5:50000
"""
NETSTAT = """\
Active Internet connections (only servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN      900/sshd: /usr/sbin
tcp6       0      0 :::443                  :::*                    LISTEN      1/nginx
udp        0      0 0.0.0.0:51413           0.0.0.0:*                           812/transmission-da
udp6       0      0 ::1:323                 :::*                                5/chronyd
Active UNIX domain sockets (only servers)
unix  2      [ ACC ]     STREAM     LISTENING     18347    1/init               /run/systemd/private
"""
BSD = """\
Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)
tcp4       0      0  *.22                   *.*                    LISTEN
tcp46      0      0  *.443                  *.*                    LISTEN
tcp4       0      0  127.0.0.1.631          *.*                    LISTEN
tcp4       0      0  192.168.1.5.50000      192.168.1.23.22        ESTABLISHED
udp4       0      0  *.51413                *.*
"""
WINDOWS = """\
Active Connections

  Proto  Local Address          Foreign Address        State           PID
  TCP    0.0.0.0:22             0.0.0.0:0              LISTENING       1234
  TCP    [::]:443               [::]:0                 LISTENING       4
  TCP    192.168.1.5:50000      192.168.1.23:22        ESTABLISHED     99
  UDP    0.0.0.0:51413          *:*                                    812
"""
ONE_PROTOCOL = """\
State  Recv-Q Send-Q Local Address:Port  Peer Address:Port
LISTEN 0      128          0.0.0.0:22         0.0.0.0:*
UNCONN 0      0                  *:51413            *:*
"""
CASES = {
    "ss": (
        SS,
        [(TCP, 22, "sshd"), (TCP, 443, "nginx"), (UDP, 5353, "avahi-daemon"), (UDP, 51413, "transmission-da")],
    ),
    "netstat": (NETSTAT, [(TCP, 22, "sshd:"), (TCP, 443, "nginx"), (UDP, 51413, "transmission-da")]),
    "bsd": (BSD, [(TCP, 22, ""), (TCP, 443, ""), (UDP, 51413, "")]),
    "windows": (WINDOWS, [(TCP, 22, ""), (TCP, 443, ""), (UDP, 51413, "")]),
    "one protocol": (ONE_PROTOCOL, [(TCP, 22, ""), (UDP, 51413, "")]),
    "empty": ("", []),
    "names of services": ("tcp LISTEN 0 128 *:ssh *:*\n", []),
    "ports that are none": (
        "tcp LISTEN 0 1 *:0 *:*\ntcp LISTEN 0 1 *:99999 *:*\ntcp LISTEN 0 1 *:\u0664 *:*\n",
        [],
    ),
    "mapped loopback": ("tcp LISTEN 0 1 [::ffff:127.0.0.1]:80 [::]:*\n", []),
}


@pytest.mark.parametrize("case", CASES)
def test_listeners_that_other_hosts_can_reach(case: str) -> None:
    text, expected = CASES[case]
    assert parse_listeners(text) == tuple(Listener(*one) for one in expected)


@given(st.text())
def test_any_text_gives_listeners_or_nothing(text: str) -> None:
    assert all(1 <= one.port <= 65535 for one in parse_listeners(text))


words = st.sampled_from(
    ["tcp", "udp6", "LISTEN", "*:22", "[::]:443", "*.*", "0.0.0.0:*", "users:((", "-", "%", ":"]
)


@given(st.lists(st.lists(words, max_size=8).map(" ".join)).map("\n".join))
def test_lines_of_such_words(text: str) -> None:
    assert all(isinstance(one.transport, Transport) for one in parse_listeners(text))


def test_a_scan_becomes_grants_but_for_the_lans_own_and_the_forbidden() -> None:
    text = 'version = 1\n[device.nas]\nmac = ["00:11:32:00:00:02"]\n[[forbid]]\nname = "adm"\nint_ports = [22]\n'
    learnt = learn_from(parse_listeners(SS), "nas")
    suggestion = suggest_policy(text, {"version": 1}, learnt, date(2027, 1, 15))
    policy = load_text(suggestion.toml, "suggested", date(2027, 1, 15)).policy
    assert [grant.int_ports for grant in policy.grants] == [((443, 443),)]
    notes = "\n".join(suggestion.notes)
    assert "tcp 22 was used, but forbidden by rule adm" in notes
    assert "udp 5353 (avahi-daemon) is mDNS" in notes
    assert "udp 51413: probably sockets of clients" in notes


@given(st.lists(st.builds(Listener, st.sampled_from(list(Transport)), st.integers(1, 65535), st.text(max_size=50))))
def test_a_suggestion_of_any_listeners_loads(listeners: list[Listener]) -> None:
    text = 'version = 1\n[device.nas]\nmac = ["00:11:32:00:00:02"]\n'
    suggestion = suggest_policy(text, {"version": 1}, learn_from(listeners, "nas"), date(2027, 1, 15))
    load_text(suggestion.toml, "suggested", date(2027, 1, 15))
