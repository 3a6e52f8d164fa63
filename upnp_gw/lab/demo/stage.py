"""The lab, the daemon and the real control points that the steps of the demo use."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from upnp_gw.lab.daemon import COMMAND, LabDaemon
from upnp_gw.lab.lab import Lab
from upnp_gw.lab.machine import Machine
from upnp_gw.lab.privilege import TOOL_PATH
from upnp_gw.lab.probe import Proof, reach
from upnp_gw.model.mapping import IPAddress, Transport

FOUND = re.compile(r"^Found valid IGD : ", re.MULTILINE)
DESCRIBED = re.compile(r"desc: (\S+)")
EXTERNAL = re.compile(r"^ExternalIPAddress = (\S+)", re.MULTILINE)
GRANTED = re.compile(r"^external \S+ (?:TCP|UDP) is redirected to internal", re.MULTILINE)


class NotProved(Exception):
    """A step has seen something else than it claims. The text has the details."""


def require(claim: bool, problem: str) -> None:
    """Raises NotProved with the problem if the claim is false."""
    if not claim:
        raise NotProved(problem)


@dataclass(frozen=True, slots=True)
class FoundGateway:
    location: str
    external_address: str
    lines: Sequence[str]


class Console:
    """The control point of the console: Debian's upnpc if it is installed, else the IgdDevice of
    async-upnp-client."""

    def __init__(self, machine: Machine, address: IPAddress) -> None:
        self.machine = machine
        self.address = str(address)
        self.location = ""
        self.upnpc = shutil.which("upnpc", path=TOOL_PATH)

    @property
    def client(self) -> str:
        return "upnpc" if self.upnpc else "IgdDevice of async-upnp-client"

    def discover(self) -> FoundGateway:
        """Searches by multicast, and reads the external address of the first gateway."""
        if self.upnpc:
            printed = self._upnpc("-s")
            described, external = DESCRIBED.search(printed), EXTERNAL.search(printed)
            if described is None or external is None or not FOUND.search(printed):
                raise NotProved(f"upnpc -s found no connected gateway:\n{printed}")
            gateway = FoundGateway(described[1], external[1], [f"  {described[0]}", f"  {external[0]}"])
        else:
            answer = control_point(self.machine, self.address, None, [])[0]
            require(answer["found"] is not None, "IgdDevice found no gateway")
            gateway = FoundGateway(
                answer["found"],
                answer["external_address"],
                [f"  {answer['found']}", f"  {answer['external_address']}"],
            )
        self.location = gateway.location
        return gateway

    def map(self, transport: Transport, port: int, lease_s: int) -> str:
        """Requests this external port for the same internal port. Returns the line that the client printed."""
        if self.upnpc:
            arguments = (self.address, str(port), str(port), transport.upper(), str(lease_s))
            printed = self._upnpc("-u", self.location, "-e", "game", "-a", *arguments)
            granted = GRANTED.search(printed)
            require(granted is not None, f"upnpc -a was refused:\n{printed}")
            return next(line for line in printed.splitlines() if GRANTED.match(line))
        answer = control_point(
            self.machine, self.address, self.location, [f"add:{transport}:{port}:{port}:{lease_s}"]
        )[1]
        require(answer["ok"], f"AddPortMapping was refused: {answer}")
        return f"external port {port} {transport.upper()} granted for {lease_s} s"

    def unmap(self, transport: Transport, port: int) -> None:
        if self.upnpc:
            printed = self._upnpc("-u", self.location, "-d", str(port), transport.upper())
            require("returned : 0" in printed, f"upnpc -d was refused:\n{printed}")
            return
        answer = control_point(self.machine, self.address, self.location, [f"delete:{transport}:{port}"])[1]
        require(answer["ok"], f"DeletePortMapping was refused: {answer}")

    def _upnpc(self, *arguments: str) -> str:
        return self.machine.run(["upnpc", *arguments], check=False, timeout=30).stdout


def control_point(
    machine: Machine, address: str, location: str | None, actions: Sequence[str]
) -> list[dict[str, Any]]:
    """Runs ``lab.control_point`` in a host. Returns the gateway, then the answer to each action."""
    options = () if location is None else ("--location", location)
    argv = [sys.executable, "-m", "upnp_gw.lab.control_point", *options, address, *actions]
    done = machine.run(argv, check=False, timeout=60)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    require(len(lines) == 1 + len(actions), f"the control point failed: {done.stdout}{done.stderr}")
    return lines


@dataclass(frozen=True, slots=True)
class Stage:
    lab: Lab
    daemon: LabDaemon
    console: Console

    def probe(self, transport: Transport, port: int, *, timeout: float = 0.5) -> Proof:
        """Probes this port of the gateway's external address from the internet."""
        return reach(self.lab.hosts["peer1"], transport, self.lab.external[0], port, timeout=timeout)

    def request(self, transport: str, port: int, *options: str) -> list[str]:
        """Runs ``upnp-gw request`` on the console. Returns the command and its output. Raises NotProved."""
        words = ("request", transport, str(port), *options)
        done = self.lab.hosts["console"].run(
            [*COMMAND, *words],
            check=False,
            timeout=30,
            env={"XDG_STATE_HOME": str(self.daemon.state_dir.parent / "console")},
        )
        require(done.returncode == 0, f"upnp-gw request was refused: {done.stderr}")
        return ["console$ upnp-gw " + " ".join(words), f"  {done.stdout.strip()}"]

    def natpmp(self, transport: Transport, port: int, lease_s: int) -> list[str]:
        """The same over NAT-PMP, by Debian's natpmpc if it is installed."""
        if shutil.which("natpmpc", path=TOOL_PATH) is None:
            return self.request(transport.value, port, "--via", "natpmp")
        words = ("natpmpc", "-a", str(port), str(port), transport.value, str(lease_s))
        printed = self.lab.hosts["console"].run(words, check=False, timeout=30).stdout
        mapped = next((line for line in printed.splitlines() if line.startswith("Mapped public port")), None)
        require(mapped is not None, f"natpmpc was refused:\n{printed}")
        return ["console$ " + " ".join(words), f"  {mapped}"]

    def closed(self, port: int) -> list[str]:
        """Probes the port over TCP and UDP. Returns lines about both. Raises NotProved if one is open."""
        lines = []
        for transport in Transport:
            proof = self.probe(transport, port)
            require(not proof.arrived, f"{transport}/{port} is open: {proof.answered_by} answered")
            lines.append(f"a packet from the internet to {transport}/{port}: refused ({proof.how})")
        return lines

    def arrives(self, transport: Transport, port: int, host: str, *, timeout: float = 2.0) -> str:
        """Probes the port. Returns a line. Raises NotProved if the packet did not arrive at this host, or its
        source address was changed."""
        proof = self.probe(transport, port, timeout=timeout)
        peer = self.lab.hosts["peer1"].address
        require(proof.arrived, f"a packet to {transport}/{port} did not arrive: {proof.how}")
        require(proof.answered_by == host, f"{transport}/{port} reached {proof.answered_by}, not {host}")
        require(proof.seen_from == peer, f"{host} saw the source address {proof.seen_from}, not {peer}")
        return f"a packet from the internet to {transport}/{port}: arrives at {host}"
