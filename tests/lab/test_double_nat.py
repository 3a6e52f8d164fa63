"""Behind another router: the address that clients get, and the one that the kernel translates with."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, served_home
from tests.lab.test_port5351 import natpmpc
from tests.lab.test_request import request
from upnp_gw.lab.probe import EchoServer, reach

pytestmark = pytest.mark.lab

ABOVE = IPv4Address("9.9.9.9")
"""The external address of the router above."""


def configured(directory: Path, lines: str) -> tuple[str, str]:
    path = directory / "gw.toml"
    path.write_text(f"[wan]\n{lines}\n")
    return "--config", str(path)


@pytest.fixture
def advertising(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    with served_home(tmp_path, *ROUTER, *configured(tmp_path, f'advertise = "{ABOVE}"')) as home:
        yield home


def test_clients_get_the_advertised_address_and_the_kernel_uses_its_own(advertising: Home, tmp_path: Path) -> None:
    home = advertising
    point = home.point()
    assert point.call("GetExternalIPAddress") == {"NewExternalIPAddress": str(ABOVE)}
    point.add(8080)
    assert f"Public IP address : {ABOVE}" in natpmpc(home, "-a", "8081", "8081", "tcp", "600")
    answer = request(home, tmp_path, "tcp", 8082, "--via", "pcp", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["external_address"] == str(ABOVE)
    assert {row["external_address"] for row in home.rows()} == {str(ABOVE)}
    with EchoServer(home.console, TCP, 8080):
        assert home.reach(8080).answered_by == "console", "the router above forwards to our own address"
    with EchoServer(home.peer, UDP, 5000):
        seen = reach(home.console, UDP, home.lab.hosts["peer1"].address, 5000, timeout=5.0)
        assert seen.seen_from == home.external, "mapped hosts send from the interface's address"
    status = home.ask("GET", "/v1/status")
    assert (status["wan"]["external_addresses"], status["wan"]["advertised"]) == ([str(home.external)], str(ABOVE))
    assert status["wan"]["address_kind"] == "public"
    assert not [sentence for sentence in status["warnings"] if "address" in sentence]


def test_a_reload_names_what_waits_for_a_restart(advertising: Home, tmp_path: Path) -> None:
    """``[upstream]`` and the rest of the configuration are read at the start."""
    file = tmp_path / "gw.toml"
    assert "restart" not in advertising.daemon.cli("reload", columns=200).stdout
    file.write_text(file.read_text() + '[upstream]\nwhen = "private"\n')
    broken = advertising.daemon.cli("reload", columns=400).stdout
    assert f"{file}:2: wan.advertise: " in broken, "the two exclude each other: the next start would say so"
    file.write_text('[wan]\n[upstream]\nwhen = "private"\n')
    sentence = f"{file}:3: upstream.when: has changed; it counts after a restart: systemctl restart upnp-gw"
    assert sentence in advertising.daemon.cli("reload", columns=400).stdout
    assert any(sentence in line for line in advertising.daemon.output)


def test_an_address_that_is_not_on_the_interface_gets_a_warning(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER, *configured(tmp_path, f'addresses = ["{ABOVE}"]')) as home:
        [warning] = [text for text in home.ask("GET", "/v1/status")["warnings"] if str(ABOVE) in text]
        assert f"{ABOVE} of [wan] addresses is not on wan0" in warning
        assert f'advertise = "{ABOVE}"' in warning
        assert warning in "\n".join(home.daemon.output)
        [check] = [
            c for c in home.ask("GET", "/v1/doctor") if c["outcome"] == "warn" and str(ABOVE) in c["finding"]
        ]
        assert f'advertise = "{ABOVE}"' in check["remedy"]


def test_a_private_address_is_logged_at_the_start(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER, *configured(tmp_path, 'advertise = "10.1.2.3"')) as home:
        assert "the external address 10.1.2.3 is not public (private (RFC 1918))" in "\n".join(home.daemon.output)
