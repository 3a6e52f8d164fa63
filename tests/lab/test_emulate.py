"""`upnp-gw emulate` on a LAN: hosts beside it find it by a search, and map ports. It has no capability."""

import json
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from upnp_gw.lab import Lab

pytestmark = pytest.mark.lab

WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--")


@pytest.fixture(scope="module")
def state(lab: Lab) -> Iterator[dict[str, object]]:
    """Of an emulator on the console, as it was printed."""
    console = lab.hosts["console"]
    options = ("--interface", console.interface, "--multicast", "--json", "--until-eof")
    argv = [*WITHOUT_CAPABILITIES, sys.executable, "-m", "upnp_gw", "emulate", *options]
    with console.popen(argv, stdin=-1, stderr=None) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate(timeout=20)
        assert process.returncode == 0


def held(lab: Lab, state: dict[str, object]) -> list[dict[str, object]]:
    with (
        lab.hosts["console"].inside(),
        urllib.request.urlopen(f"{state['control']}/v1/mappings", timeout=5) as answer,
    ):
        found: list[dict[str, object]] = json.load(answer)
        return found


def test_upnpc_on_another_host_finds_it_and_maps_a_port(lab: Lab, state: dict[str, object]) -> None:
    console, pc = lab.hosts["console"], lab.hosts["pc"]
    assert (state["gateway_address"], state["pcp_port"], state["search_port"]) == (str(console.address), 5351, 1900)
    done = pc.run(["upnpc", "-m", pc.interface, "-a", str(pc.address), "8080", "8080", "TCP", "3600"])
    assert f"is redirected to internal {pc.address}:8080" in done.stdout, done.stdout
    assert [(row["external_port"], row["internal_client"]) for row in held(lab, state)] == [(8080, str(pc.address))]
    done = pc.run(["natpmpc", "-g", str(console.address), "-a", "7000", "7000", "udp", "600"])
    assert "Mapped public port 7000" in done.stdout, done.stdout


def test_a_host_gets_no_port_for_another_one(lab: Lab, state: dict[str, object]) -> None:
    console, pc = lab.hosts["console"], lab.hosts["pc"]
    argv = ["upnpc", "-u", str(state["location"]), "-a", str(lab.gateway.address), "9090", "9090", "TCP", "600"]
    assert "failed with code 606" in pc.run(argv, check=False).stdout
    assert 9090 not in {row["external_port"] for row in held(lab, state)}
    # a client on the machine of the emulator has the emulator's own address
    argv[4] = str(console.address)
    done = console.run(argv, check=False)
    assert f"is redirected to internal {console.address}:9090" in done.stdout, done.stdout + done.stderr


def test_the_control_api_is_not_on_the_lan(lab: Lab, state: dict[str, object]) -> None:
    port = str(state["control"]).rpartition(":")[2]
    done = lab.hosts["pc"].run(["curl", "-sS", f"http://{state['gateway_address']}:{port}/v1/state"], check=False)
    assert "refused" in done.stderr.lower() or "connect" in done.stderr.lower()
    assert not done.stdout
