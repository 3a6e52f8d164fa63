"""`upnp-gw emulate` as a process: its first line, its end, mistakes of its options, real clients."""

import asyncio
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.profiles.igd import IgdDevice
from click.testing import CliRunner

from tests.testing.api.process import COMMAND, DONE_S, Process, emulating
from tests.testing.portable_client import add_port_mapping, datagram
from upnp_gw.cli import main
from upnp_gw.testing import plain_sockets

CLIENT, ANYONE = IPv4Address("127.0.0.1"), IPv4Address("0.0.0.0")


def test_its_first_line_is_for_people_and_scripts() -> None:
    with subprocess.Popen([*COMMAND, "--until-eof"], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        names, values = words[::2], words[1::2]
        assert names == ["location", "control", "pcp", "ssdp"]
        urls = dict(zip(names, values, strict=True))
        assert urls["location"].endswith("/igd2.xml")
        host, port = urls["pcp"].split(":")
        assert datagram((host, int(port)), b"\0\0")[:4] == b"\0\x80\0\0"
        rest, _ = process.communicate(timeout=DONE_S)
        assert (process.returncode, rest) == (0, "")


def ends_by_signal(number: int) -> Callable[[Process], object]:
    return lambda process: process.popen.send_signal(number)


@pytest.mark.parametrize(
    "end",
    [
        ends_by_signal(signal.SIGINT),
        ends_by_signal(signal.SIGTERM),
        lambda process: process.popen.stdin.close(),
        lambda process: process.ask("stop"),
    ],
    ids=["SIGINT", "SIGTERM", "end of stdin", "stop"],
)
def test_it_ends_with_exit_code_0_and_leaves_nothing(tmp_path: Path, end: Callable[[Process], object]) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with emulating("--until-eof", stdin=subprocess.PIPE, env=environment) as igd:
        add_port_mapping(igd.first.control_url, 8080)
        assert list(tmp_path.iterdir()), "its state while it runs"
        end(igd)
        assert igd.popen.wait(DONE_S) == 0
    assert not list(tmp_path.iterdir())
    for port, kind in ((igd.first.pcp_port, socket.SOCK_DGRAM), (int(igd.first.control[-5:]), socket.SOCK_STREAM)):
        with socket.socket(socket.AF_INET, kind) as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind((igd.first.gateway_address if kind is socket.SOCK_DGRAM else "127.0.0.1", port))


def test_standard_input_alone_does_not_end_it() -> None:
    with emulating(stdin=subprocess.DEVNULL) as igd:
        igd.ask("advance", {"hours": 1})
        assert igd.popen.poll() is None


def test_a_query_that_waits_does_not_keep_it_from_ending() -> None:
    with emulating() as igd:
        waiting = subprocess.Popen(["curl", "-s", f"{igd.first.control}/v1/mappings?wait_s=60"])
        while not igd.ask("state"):
            pass
    assert waiting.wait(DONE_S) != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--personality", "v1only"), "did you mean 'v1-only'?"),
        (("--fault", "AddPortMaping=718"), "did you mean 'AddPortMapping'?"),
        (("--fault", "AddPortMapping"), "accepted: ACTION=ANSWER, such as AddPortMapping=718"),
        (("--port", "70000"), "accepted: a TCP port 0 to 65535"),
        (("--pcp-port", "x"), "accepted: a UDP port 0 to 65535"),
        (("--external", "1.2.3"), "accepted: an IPv4 address"),
        (("--interface", "lo7"), "--interface: lo7: has no IPv4 address here; did you mean lo?"),
        (("--address", "10.0.0.1"), "--address: 10.0.0.1: accepted: an address of the loopback"),
        (("--policy", "/dev/null/none"), "/dev/null/none"),
        (("more",), "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_ends_it_with_exit_code_2(options: tuple[str, ...], message: str) -> None:
    done = CliRunner().invoke(main, ("emulate", *options))
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not done.stdout


@pytest.mark.parametrize("option", ["--port", "--pcp-port", "--search-port", "--control-port"])
def test_a_port_that_is_taken_ends_it_with_exit_code_2(option: str) -> None:
    kind = socket.SOCK_DGRAM if option in ("--pcp-port", "--search-port") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ("emulate", "--address", "127.0.0.1", option, port))
    assert done.exit_code == 2
    assert f"upnp-gw emulate: {option}: {port}: cannot" in " ".join(done.stderr.split())
    assert "(Address already in use); accepted: a free port" in " ".join(done.stderr.split())


def test_several_run_beside_each_other_also_on_one_address() -> None:
    with ExitStack() as stack:
        all_of_them = [
            stack.enter_context(emulating(*options))
            for options in ((), (), ("--address", "127.0.0.1"), ("--address", "127.0.0.1"))
        ]
        for at, igd in enumerate(all_of_them):
            add_port_mapping(igd.first.control_url, 8080 + at)
        assert [igd.ask("mappings")[0].external_port for igd in all_of_them] == [8080, 8081, 8082, 8083]
        assert len({(igd.first.gateway_address, igd.first.pcp_port) for igd in all_of_them}) == 4
        assert len({igd.first.control for igd in all_of_them}) == 4


def test_its_options_are_those_of_the_emulator(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\ndefault = "deny"\n', "utf-8")
    options = (
        "--external",
        "",
        "--personality",
        "v1-only",
        "--fault",
        "GetStatusInfo=501",
        "--policy",
        str(policy),
    )
    with emulating(*options, "--address", "127.0.0.1", "--port", "0", "--search-port", "0") as igd:
        first = igd.first
        assert (first.external_address, first.personality, first.gateway_address) == ("", ["v1-only"], "127.0.0.1")
        assert first.location.endswith("/igd1.xml")
        assert first.search_port != 1900
        assert [fault.action for fault in igd.ask("faults")] == ["GetStatusInfo"]
        with pytest.raises(OSError, match="500"):
            add_port_mapping(first.control_url, 8080)
        igd.ask("reset", {"as_new": True})
        assert [fault.action for fault in igd.ask("faults")] == ["GetStatusInfo"]
        assert igd.state().personality == ["v1-only"]
    with emulating("--no-nat") as igd:
        add_port_mapping(igd.first.control_url, 8080)
        assert igd.ask("pinholes")[0].external_port == 8080


async def test_async_upnp_client_maps_a_port() -> None:
    with emulating() as igd:
        device = await UpnpFactory(AiohttpRequester()).async_create_device(igd.first.location)
        await IgdDevice(device, None).async_add_port_mapping(
            ANYONE, 8080, "TCP", 8080, CLIENT, True, "mine", timedelta(hours=1)
        )
        [held] = await asyncio.to_thread(igd.ask, "mappings")
        assert (held.description, held.lease_s) == ("mine", 3600)


@pytest.mark.lab
def test_upnpc_and_natpmpc_map_ports_and_see_a_fault() -> None:
    with emulating() as igd:
        upnpc = ["upnpc", "-u", igd.first.location, "-a", "127.0.0.1", "8080", "8080", "TCP", "3600"]
        done = subprocess.run(upnpc, capture_output=True, text=True, timeout=DONE_S)
        assert "is redirected to internal 127.0.0.1:8080" in done.stdout, done.stdout + done.stderr
        natpmpc = ["natpmpc", "-g", igd.first.gateway_address, "-a", "7000", "7000", "udp", "600"]
        done = subprocess.run(natpmpc, capture_output=True, text=True, timeout=DONE_S)
        assert "Mapped public port 7000 protocol UDP to local port 7000" in done.stdout, done.stdout + done.stderr
        assert [held.via for held in igd.ask("mappings")] == ["natpmp", "igd2"]
        igd.ask("put_fault", {"text": "AddPortMapping=ConflictInMappingEntry"})
        done = subprocess.run(upnpc, capture_output=True, text=True, timeout=DONE_S)
        assert "failed with code 718" in done.stdout + done.stderr


def test_its_end_is_announced() -> None:
    with plain_sockets.multicast(CLIENT) as group:
        group.settimeout(10)
        with emulating("--multicast") as igd:
            [first, *_] = igd.ask("announcements", query="?nts=ssdp:alive&wait_s=5")
            while select.select([group], [], [], 0)[0]:
                group.recv(2048)  # a start says byebye too, before the first alive
        heard = b""
        while b"ssdp:byebye" not in heard or first.usn.encode() not in heard:
            heard = group.recv(2048)
