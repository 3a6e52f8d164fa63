"""``upnp-gw request``: the uses that it refuses, and its output for each answer."""

import json
from ipaddress import IPv4Address

import pytest
from click.testing import CliRunner

from upnp_gw.cli import main
from upnp_gw.cli.request import _Output
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.model.mapping import Endpoint, Transport, Via

REQUESTED = RequestedMapping(Transport.TCP, 8080, 8080, 3600)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "either TRANSPORT and PORT, or --listening"),
        ("tcp", "either TRANSPORT and PORT"),
        ("tcp 8080 --listening", "either TRANSPORT and PORT"),
        ("tcp 8080 --hold --release", "--hold and --release exclude each other"),
        ("tcp 8080 --yes tcp/80", "--yes needs --listening"),
        ("--listening --external 80", "--external needs TRANSPORT and PORT"),
        ("tcp 0", 'got "0"; accepted: a port 1 to 65535, such as 8080'),
        ("tcp 8080 --ttl never", "is not a duration"),
        ("tcp 8080 --ttl 0", "accepted: 1s to 366d"),
        ("tcp 8080 --gateway gw.example", "is not an address"),
        ("sctp 8080", "'tcp', 'udp'"),
    ],
)
def test_wrong_use_ends_with_2(words: str, message: str) -> None:
    done = CliRunner().invoke(main, ["request", *words.split()])
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_lease_is_printed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lease = MappingLease(
        Via.PCP,
        Transport.TCP,
        Endpoint(IPv4Address("11.22.33.44"), 8080),
        Endpoint(IPv4Address("192.168.77.10"), 8080),
        3600,
    )
    _Output(False).print_lease(lease)
    _Output(True).print_lease(lease)
    text, line = capsys.readouterr().out.splitlines()
    assert text == "11.22.33.44:8080 tcp via pcp 3600s"
    assert json.loads(line) == {
        "external_address": "11.22.33.44",
        "external_port": 8080,
        "transport": "tcp",
        "internal_address": "192.168.77.10",
        "internal_port": 8080,
        "via": "pcp",
        "lifetime_s": 3600,
    }


def test_a_gateway_s_words_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert _Output(False).print_failure(REQUESTED, RequestRefused(Via.IGD1, "error 606", "no\x1b[2J\r\n")) == 1
    assert _Output(False).print_failure(REQUESTED, NoAnswer("nobody")) == 3
    output = capsys.readouterr().err
    assert "\x1b" not in output
    assert output.startswith("tcp 8080: refused: over igd: error 606 (no")
    assert output.endswith("tcp 8080: no gateway: nobody\n")
