"""Every example with NAT starts the daemon it describes, and a packet comes through what it granted."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.end_to_end import TCP, Home
from upnp_gw.lab import GUEST, HOME, Lab, Topology
from upnp_gw.lab.daemon import DaemonFailed, LabDaemon
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).parents[2] / "examples"
TEAMS = EXAMPLES / "config" / "teams.toml"
"""Without NAT: tests/lab/test_teams.py serves it."""
CONFIGS = sorted(set((EXAMPLES / "config").glob("*.toml")) - {TEAMS})
ADAPTED = {
    # the addresses of a provider, the policy and the group of an administrator: of this lab
    '["198.51.100.7"]': '["11.22.33.44"]',
    '["198.51.100.7", "198.51.100.8"]': '["11.22.33.44", "11.22.33.45"]',
    '"/etc/upnp-gw/policy.toml"': f'"{EXAMPLES}/policies/home.toml"',
    '"netadmin"': '"root"',
    '"adm"': '"root"',
    '"/tmp/dhcp.leases"': '"dhcp.leases"',
}
"""Value in an example -> value in this test; everything else is as in the example."""


@contextmanager
def started(config: Path, directory: Path) -> Iterator[tuple[Home, dict[str, Any]]]:
    """A home whose interfaces have the example's names, and the daemon with nothing but the example's settings.

    Directories and user apart: those are options, as a test's have to be.
    """
    text = config.read_text("utf-8")
    for written, home in ADAPTED.items():
        text = text.replace(written, home)
    given = tomllib.loads(text)
    names = given["lan"]["interfaces"]
    lans = tuple(replace(lan, interface=name) for lan, name in zip((HOME, GUEST), names, strict=False))
    assert len(lans) == len(names), "a third LAN: this test has to know one more"
    addresses = given["wan"].get("addresses", [""])
    file = directory / config.name
    file.write_text(text)
    with Lab(Topology(lans=lans, external=len(addresses), wan=given["wan"]["interface"])) as lab:
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        with LabDaemon(lab.gateway, directory, "--config", str(file)) as daemon:
            yield Home(lab, daemon), given


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_an_example_starts_and_serves(namespaces: None, tmp_path: Path, config: Path) -> None:
    with started(config, tmp_path) as (home, given):
        status = home.daemon.json("status")
        assert [lan["interface"] for lan in status["lan"]] == given["lan"]["interfaces"]
        assert status["wan"]["external_addresses"] == [str(address) for address in home.lab.external]
        assert status["firewall"] == given.get("firewall", {}).get("mode", "alongside")
        with EchoServer(home.console, TCP, 8080):
            home.point().add(8080)
            assert home.reach(8080).answered_by == "console"
        home.agree()
        if len(home.lab.topology.lans) > 1:
            home.point("guest").add(8081)
            assert len(home.rows()) == 2
        assert not [line for line in home.daemon.output if line.startswith(("ERROR", "Traceback"))]
        assert home.daemon.stop() == 0


POLICY = 'version = 1\n[[grant]]\nname = "g"\nwho = "*"\n'
UNSOUND = [
    ("gw.toml", "[wan]\naddresses = []\n", "gw.toml:2: wan.addresses: "),
    ("gw.toml", '[control]\ngroup = "a\\u0000b"\n', "gw.toml:2: control.group: "),
    ("policy.toml", POLICY + "until = 0001-01-01T00:00:00+14:00\n", 'policy.toml:5: grant "g": until: '),
    ("policy.toml", POLICY + "remote = []\n", 'policy.toml:5: grant "g": remote: '),
    (
        "state/approved.toml",
        POLICY.replace('"g"', '"a"') + "until = 9999-12-31T23:59:59-14:00\n",
        'approved.toml:5: grant "a": until: ',
    ),
]


def test_an_unsound_file_ends_the_start_with_a_message(namespaces: None, tmp_path: Path) -> None:
    sound = {"gw.toml": "", "policy.toml": POLICY, "state/approved.toml": "version = 1\n"}
    with Lab() as lab:
        options = ("--config", str(tmp_path / "gw.toml"), "--policy", str(tmp_path / "policy.toml"))
        daemon = LabDaemon(lab.gateway, tmp_path, "--lan", "lan0", "--wan", "wan0", *options)
        for name, text, message in UNSOUND:
            for other, whole in sound.items():
                (tmp_path / other).write_text(text if other == name else whole)
            with pytest.raises(DaemonFailed, match="ended with code 2"):
                daemon.start()
            (*_, last) = daemon.output
            assert message in last
            assert not [line for line in daemon.output if "Traceback" in line]


def test_there_are_examples_and_nothing_is_adapted_in_vain() -> None:
    assert {path.stem for path in CONFIGS} >= {"home", "router", "office", "every-key"}
    text = "".join(path.read_text("utf-8") for path in CONFIGS)
    assert [written for written in ADAPTED if written not in text] == []
