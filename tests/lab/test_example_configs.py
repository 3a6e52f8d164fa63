"""Every file of examples/config starts the daemon it describes, and a packet comes through what it granted."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.whole_way import TCP, Home
from upnp_gw.lab import GUEST, HOME, Lab, Topology
from upnp_gw.lab.daemon import Daemon
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGS = sorted((EXAMPLES / "config").glob("*.toml"))
ADAPTED = {
    # the addresses of a provider, the policy and the group of an administrator: of this lab
    '["198.51.100.7"]': '["11.22.33.44"]',
    '["198.51.100.7", "198.51.100.8"]': '["11.22.33.44", "11.22.33.45"]',
    '"/etc/upnp-gw/policy.toml"': f'"{EXAMPLES}/policies/home.toml"',
    '"netadmin"': '"root"',
    '"adm"': '"root"',
    '"/tmp/dhcp.leases"': '"dhcp.leases"',
}
"""What an example says -> what is said here; everything else stands as it is written."""


@contextmanager
def started(config: Path, directory: Path) -> Iterator[tuple[Home, dict[str, Any]]]:
    """A home whose interfaces have the example's names, and the daemon with nothing but the example's settings.

    Directories and user apart: those are options, as a test's have to be.
    """
    text = config.read_text("utf-8")
    for written, here in ADAPTED.items():
        text = text.replace(written, here)
    given = tomllib.loads(text)
    names = given["lan"]["interfaces"]
    lans = tuple(replace(lan, interface=name) for lan, name in zip((HOME, GUEST), names, strict=False))
    assert len(lans) == len(names), "a third LAN: this test has to know one more"
    addresses = given["wan"].get("addresses", [""])
    file = directory / config.name
    file.write_text(text)
    with Lab(Topology(lans=lans, external=len(addresses), wan=given["wan"]["interface"])) as lab:
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        with Daemon(lab.gateway, directory, "--config", str(file)) as daemon:
            yield Home(lab, daemon), given


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_an_example_starts_and_serves(namespaces: None, tmp_path: Path, config: Path) -> None:
    with started(config, tmp_path) as (here, given):
        status = here.daemon.json("status")
        assert [lan["interface"] for lan in status["lan"]] == given["lan"]["interfaces"]
        assert status["wan"]["external_addresses"] == [str(address) for address in here.lab.external]
        assert status["firewall"] == given.get("firewall", {}).get("mode", "alongside")
        with EchoServer(here.console, TCP, 8080):
            here.point().add(8080)
            assert here.reach(8080).answered_by == "console"
        here.agree()
        if len(here.lab.topology.lans) > 1:
            here.point("guest").add(8081)
            assert len(here.rows()) == 2
        assert not [line for line in here.daemon.output if line.startswith(("ERROR", "Traceback"))]
        assert here.daemon.stop() == 0


def test_there_are_examples_and_nothing_is_adapted_in_vain() -> None:
    assert {path.stem for path in CONFIGS} >= {"home", "router", "office", "every-key"}
    text = "".join(path.read_text("utf-8") for path in CONFIGS)
    assert [written for written in ADAPTED if written not in text] == []
