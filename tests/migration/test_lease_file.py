"""The lease files of miniupnpd, those of hostile clients among them."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.migration.lease_file import MOST_LINES, FileLease, LeaseFile, read_lease_file
from upnp_gw.model.mapping import Endpoint, Transport, Via

NOW = 1_796_033_000
TCP, UDP = Transport.TCP, Transport.UDP
DEBIAN = (
    "TCP:8080:192.168.77.20:8000:1796033839:game: with: colons\n"
    "UDP:8081:192.168.77.20:8081:1796638039:libminiupnpc\n"
    "UDP:9000:192.168.77.20:9000:1796033939:NAT-PMP 9000 udp\n"
    "TCP:9100:192.168.77.20:9100:1796034040:PCP MAP 3e7ab20507881d5dfe3ad918\n"
)
PINHOLES = (
    "TCP;2a11:2233:0:77::14;9102;(null);0;1;1796034041;PCP MAP 4425c2ca777596ad125623af\n"
    "UDP;2a11:2233:0:77::14;9103;2001:db8::9;5000;2;1796034041;IGD2 pinhole\n"
    "TCP;2a11:2233:0:77::14;9104;;0;3;1796034041;\n"
)
SEEDS = (DEBIAN, PINHOLES, "TCP:1:10.0.0.2:1:600:a\nTCP:2:10.0.0.2:2:0:b\nTCP:1:10.0.0.2:1:900:c\n")


def read(text: str | bytes, now: float = NOW, written: float = NOW) -> LeaseFile:
    return read_lease_file(text.encode() if isinstance(text, str) else text, now, written)


def lease(line: int, transport: Transport, port: int, client: str, end: int | None, **more: object) -> FileLease:
    made = FileLease(line, transport, port, Endpoint(ip_address(client), port), end, Via.IGD1, "")
    return replace(made, **more)  # type: ignore[arg-type]


def test_the_file_that_debians_miniupnpd_wrote() -> None:
    """Version 2.3.1, with upnpc, natpmpc and a PCP client (tests/lab/test_takeover.py makes it)."""
    found = read(DEBIAN)
    client = "192.168.77.20"
    assert found == LeaseFile(
        leases=(
            lease(
                1,
                TCP,
                8080,
                client,
                1796033839,
                internal=Endpoint(ip_address(client), 8000),
                description="game: with: colons",
            ),
            lease(2, UDP, 8081, client, 1796638039, description="libminiupnpc"),
            lease(3, UDP, 9000, client, 1796033939, via=Via.NATPMP),
            lease(4, TCP, 9100, client, 1796034040, via=Via.PCP),
        ),
        expired=(),
        broken=(),
    )


def test_pinholes() -> None:
    found = read(PINHOLES)
    client = "2a11:2233:0:77::14"
    assert found.leases == (
        lease(1, TCP, 9102, client, 1796034041, via=Via.PCP),
        lease(2, UDP, 9103, client, 1796034041, description="IGD2 pinhole", remote=ip_address("2001:db8::9"),
              remote_port=5000),
        lease(3, TCP, 9104, client, 1796034041),
    )  # fmt: skip


def test_expired_and_endless_ones() -> None:
    found = read(f"TCP:1:10.0.0.2:1:{NOW}:a\nTCP:2:10.0.0.2:2:{NOW + 1}:b\nTCP:3:10.0.0.2:3:0:c\n")
    assert [(one.external_port, one.ends_at) for one in found.leases] == [(2, NOW + 1), (3, None)]
    assert [one.line for one in found.expired] == [1]


def test_remaining_times_count_from_the_time_of_the_file() -> None:
    text = "TCP:1:10.0.0.2:1:600:a\nTCP:2:10.0.0.2:2:0:b\nTCP:3:10.0.0.2:3:100:c\n"
    found = read(text, written=NOW - 200)
    assert found.remaining_times
    assert [(one.external_port, one.ends_at) for one in found.leases] == [(1, NOW + 400), (2, None)]
    assert [one.external_port for one in found.expired] == [3]
    assert not read("TCP:2:10.0.0.2:2:0:b\n").remaining_times


def test_the_last_line_for_a_port_of_a_client_counts() -> None:
    found = read(f"TCP:1:10.0.0.2:1:{NOW + 5}:a\nUDP:1:10.0.0.2:1:{NOW + 6}:b\nTCP:1:10.0.0.2:1:{NOW + 9}:c\n")
    assert [(one.line, one.ends_at) for one in found.leases] == [(2, NOW + 6), (3, NOW + 9)]
    assert found.repeated == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hello", "accepted: PROTOCOL:PORT:ADDRESS:PORT:TIME:DESCRIPTION"),
        ("TCP;2001:db8::1;80", "accepted: PROTOCOL;ADDRESS;PORT;REMOTE HOST;PORT;NUMBER;TIME;DESCRIPTION"),
        ("TCP:80:10.0.0.2:80:0", "accepted: PROTOCOL:PORT:"),
        ("SCTP:80:10.0.0.2:80:0:", "the protocol is not TCP or UDP"),
        ("TCP:0:10.0.0.2:80:0:", "the external port is not 1 to 65535"),
        ("TCP:65536:10.0.0.2:80:0:", "the external port"),
        ("TCP:80:10.0.0.2:-1:0:", "the internal port"),
        ("TCP:80:10.0.0.2:80:4294967296:", "the time is not 0 to 4294967295"),
        ("TCP:80:10.0.0.2:80:1e9:", "the time"),
        ("TCP:80:10.0.0.256:80:0:", "the internal client is not an IPv4 address"),
        ("TCP:80:nas.lan:80:0:", "the internal client"),
        ("TCP;fe80::1%eth0;80;;0;1;0;", "the internal client has a zone"),
        ("TCP;10.0.0.2;80;;0;1;0;", "the internal client is not an IPv6 address"),
        ("TCP;2001:db8::1;80;203.0.113.9;0;1;0;", "the remote host is not an IPv6 address"),
        ("TCP;2001:db8::1;80;;65536;1;0;", "the remote port"),
        ("TCP:80:10.0.0.2:80:0:a\0b", "it has a NUL byte"),
        ("TCP:80:10.0.0.2:80:0:" + "x" * 1100, "longer than 1024 bytes"),
    ],
)
def test_a_broken_line_is_named_by_its_number_and_the_others_count(line: str, reason: str) -> None:
    found = read(f"TCP:1:10.0.0.2:1:0:a\n\n{line}\nTCP:2:10.0.0.2:2:0:b")
    assert [one.line for one in found.leases] == [1, 4]
    [(number, why)] = found.broken
    assert number == 3
    assert why.startswith(reason)


def test_a_description_is_harmless() -> None:
    found = read(b"TCP:1:10.0.0.2:1:0:a\x1b[31mred\xff\xfe\r\nTCP:2:10.0.0.2:2:0:" + b"y" * 900)
    assert found.leases[0].description == "a[31mred\ufffd\ufffd"
    assert found.leases[1].description == "y" * 256


def test_the_nonce_of_a_pcp_client_is_in_no_description() -> None:
    found = read(f"TCP:1:10.0.0.2:1:0:{'PCP MAP 3e7ab20507881d5dfe3ad918'} \nTCP:2:10.0.0.2:2:0:PCP MAP 12")
    assert [(one.via, one.description) for one in found.leases] == [(Via.PCP, ""), (Via.IGD1, "PCP MAP 12")]


def test_no_more_lines_than_there_are_ports() -> None:
    found = read("".join(f"TCP:{1 + n % 65535}:10.0.{n % 250}.2:1:0:\n" for n in range(MOST_LINES + 500)))
    assert len(found.leases) == MOST_LINES
    assert found.broken == ((MOST_LINES + 1, "the lines from here on are not read: the limit is 65535 lines"),)
    assert read(b"\n" * 10_000_000) == LeaseFile((), (), ())


@given(st.binary(max_size=300) | st.text(":;\nTCPUD0123456789.a\0 ", max_size=200).map(str.encode))
def test_any_bytes_are_read(data: bytes) -> None:
    """Every line with something in it is in one of the lists."""
    found = read(data)
    lines = [line for line in data.split(b"\n") if line.strip(b" \t\r")]
    assert len(lines) == len(found.leases) + len(found.expired) + len(found.broken) + found.repeated
