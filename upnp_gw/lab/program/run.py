"""Runs a program on a LAN host of a home whose gateway is ours, and reports what it did."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from upnp_gw import api
from upnp_gw.lab.control_socket import ask
from upnp_gw.lab.daemon import COMMAND, LabDaemon
from upnp_gw.lab.host import Host
from upnp_gw.lab.lab import Lab
from upnp_gw.lab.machine import Machine
from upnp_gw.lab.privilege import TOOL_PATH
from upnp_gw.lab.program.capture import Capture
from upnp_gw.lab.program.journal import read_journal
from upnp_gw.lab.program.leftover import end_processes, processes_of
from upnp_gw.lab.program.openings import Openings
from upnp_gw.lab.program.report import LeftMapping, ProgramReport, endpoint_text
from upnp_gw.lab.topology import HOME, LanHost, Topology
from upnp_gw.model.mapping import IPAddress

CLIENT = LanHost("client", 10, "3c:52:82:00:00:0a")
"""The program's host: 192.168.77.10. Its gateway is 192.168.77.1, whose external address is 11.22.33.44."""
PEER = "peer1"
"""The host on the internet that probes: 11.50.1.10."""
HTTP_PORT = 5000
NOT_FOUND = 127
"""Exit code of a shell for a program that does not exist."""


class NoSuchProgram(Exception):
    """The program does not exist or cannot be run."""


class FaultyDaemon(LabDaemon):
    """The daemon of ``cli.lab_gateway``. ``faults``: texts for its option --fault."""

    def __init__(self, host: Machine, directory: Path, faults: Sequence[str], *options: str) -> None:
        super().__init__(host, directory, *options)
        self._faults = faults

    @property
    def argv(self) -> list[str]:
        faults = [word for fault in self._faults for word in ("--fault", fault)]
        return [sys.executable, "-m", "upnp_gw.cli.lab_gateway", *faults, *super().argv[len(COMMAND) + 1 :]]


def run_program(
    command: Sequence[str], policy: Path | None, faults: Sequence[str] = (), *, output_to_stderr: bool
) -> ProgramReport:
    """Runs the command to its end. It has this process's terminal, working directory and environment.

    ``policy``: a policy file; None: the built-in home policy. ``faults``: answers in place of the gateway's, by
    ``testing.fault_option``. ``output_to_stderr``: the program's standard output goes there too.

    Needs the right to make namespaces (``privilege.acquire``). Raises NoSuchProgram, DaemonFailed.
    """
    if shutil.which(command[0], path=TOOL_PATH) is None:
        raise NoSuchProgram(f"there is no program {command[0]}")
    options = ["--lan", HOME.interface, "--wan", "wan0", "--firewall", "router", "--http-port", str(HTTP_PORT)]
    if policy is not None:
        options += ["--policy", str(policy.absolute())]
    topology = Topology(lans=(replace(HOME, hosts=(CLIENT,)),), peers=(PEER,))
    with (
        tempfile.TemporaryDirectory(prefix="upnp-gw-lab-") as directory,
        Lab(topology) as lab,
        _daemon(lab, Path(directory), faults, options) as daemon,
    ):
        client, peer = lab.hosts[CLIENT.name], lab.hosts[PEER]
        peers: frozenset[IPAddress] = frozenset({peer.address, peer.address6})
        with Capture(client, HTTP_PORT, peers) as capture, Openings(daemon.runtime_dir, peer, capture) as openings:
            began_s = capture.now()
            code = run_in(client, command, sys.stderr.fileno() if output_to_stderr else None)
            took_s = capture.now() - began_s
            left = msgspec.convert(ask(daemon.runtime_dir, "GET", "/v1/mappings"), list[api.Mapping])
            processes = processes_of(client)
            probed = openings.finish(left)
            end_processes(client)
        own: frozenset[IPAddress] = frozenset({client.address, client.address6, client.ula})
        return ProgramReport(
            tuple(command),
            code,
            took_s,
            read_journal(capture.packets, own, began_s),
            probed,
            [_left(mapping) for mapping in left],
            processes,
            capture.lost,
        )


def _daemon(lab: Lab, directory: Path, faults: Sequence[str], options: Sequence[str]) -> LabDaemon:
    """Without faults it is the daemon of a router."""
    if faults:
        return FaultyDaemon(lab.gateway, directory, faults, *options)
    return LabDaemon(lab.gateway, directory, *options)


def run_in(client: Host, command: Sequence[str], stdout: int | None) -> int:
    """Runs the command in the host. Returns its exit code, or 128 + N if signal N ended it."""
    with _signals_for_program() as started:
        process = client.popen(command, stdin=None, stdout=stdout, stderr=None)
        started(process)
        code = process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _signals_for_program() -> Iterator[Callable[["subprocess.Popen[str]"], None]]:
    """SIGINT and SIGTERM are for the program: it ends, and its report is made. A terminal sends SIGINT to both.

    Yields the function to call with the program. It gets the signals that came while it was started.
    """
    running: list[subprocess.Popen[str]] = []
    early: list[int] = []

    def forward(number: int, frame: object) -> None:
        if not running:
            early.append(number)
        elif number == signal.SIGTERM:
            running[0].terminate()

    def started(process: "subprocess.Popen[str]") -> None:
        running.append(process)
        for number in early:
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _left(mapping: api.Mapping) -> LeftMapping:
    return LeftMapping(
        mapping.id,
        mapping.transport.value,
        endpoint_text(mapping.external_address, mapping.external_port),
        endpoint_text(mapping.internal_client, mapping.internal_port),
        mapping.lease_left_s,
    )
