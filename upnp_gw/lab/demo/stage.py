"""What the steps of the demo act on: the lab, the daemon, and real control points in its hosts."""

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
    """A step saw something else than it claims. The text says what."""


def require(claim: bool, otherwise: str) -> None:
    if not claim:
        raise NotProved(otherwise)


@dataclass(frozen=True, slots=True)
class FoundGateway:
    """What a control point found."""

    location: str
    external_address: str
    lines: Sequence[str]


class Console:
    """The console's control point: Debian's upnpc where it is installed, else async-upnp-client's IgdDevice."""

    def __init__(self, machine: Machine, address: IPAddress) -> None:
        self.machine = machine
        self.address = str(address)
        self.location = ""
        self.upnpc = shutil.which("upnpc", path=TOOL_PATH)

    @property
    def client(self) -> str:
        return "upnpc" if self.upnpc else "IgdDevice of async-upnp-client"

    def discover(self) -> FoundGateway:
        """Searches by multicast and asks the first gateway for its external address."""
        if self.upnpc:
            printed = self._upnpc("-s")
            described, external = DESCRIBED.search(printed), EXTERNAL.search(printed)
            if described is None or external is None or not FOUND.search(printed):
                raise NotProved(f"upnpc -s found no connected gateway:\n{printed}")
            gateway = FoundGateway(described[1], external[1], [f"  {described[0]}", f"  {external[0]}"])
        else:
            told = control_point(self.machine, self.address, None, [])[0]
            require(told["found"] is not None, "IgdDevice found no gateway")
            gateway = FoundGateway(
                told["found"], told["external_address"], [f"  {told['found']}", f"  {told['external_address']}"]
            )
        self.location = gateway.location
        return gateway

    def map(self, transport: Transport, port: int, lease_s: int) -> str:
        """Asks for this port, external and internal alike. The answer is the line the client printed."""
        if self.upnpc:
            asked = (self.address, str(port), str(port), transport.upper(), str(lease_s))
            printed = self._upnpc("-u", self.location, "-e", "game", "-a", *asked)
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
    """IgdDevice in a host: what it found, then its answer to each action."""
    known = () if location is None else ("--location", location)
    argv = [sys.executable, "-m", "upnp_gw.lab.control_point", *known, address, *actions]
    done = machine.run(argv, check=False, timeout=60)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    require(len(lines) == 1 + len(actions), f"the control point failed: {done.stdout}{done.stderr}")
    return lines


@dataclass(frozen=True, slots=True)
class Stage:
    """The whole scene of the proved demo."""

    lab: Lab
    daemon: LabDaemon
    console: Console

    def knock(self, transport: Transport, port: int, *, timeout: float = 0.5) -> Proof:
        """One packet from the internet to the gateway's external address and this port."""
        return reach(self.lab.hosts["peer1"], transport, self.lab.external[0], port, timeout=timeout)

    def request(self, transport: str, port: int, *options: str) -> list[str]:
        """``upnp-gw request`` on the console: the command, and the line it printed. Raises NotProved."""
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
        """The same over NAT-PMP, by Debian's natpmpc where it is installed."""
        if shutil.which("natpmpc", path=TOOL_PATH) is None:
            return self.request(transport.value, port, "--via", "natpmp")
        words = ("natpmpc", "-a", str(port), str(port), transport.value, str(lease_s))
        printed = self.lab.hosts["console"].run(words, check=False, timeout=30).stdout
        mapped = next((line for line in printed.splitlines() if line.startswith("Mapped public port")), None)
        require(mapped is not None, f"natpmpc was refused:\n{printed}")
        return ["console$ " + " ".join(words), f"  {mapped}"]

    def closed(self, port: int) -> list[str]:
        """Lines that say how TCP and UDP were refused. Raises NotProved where one got through."""
        lines = []
        for transport in Transport:
            proof = self.knock(transport, port)
            require(not proof.arrived, f"{transport}/{port} is open: {proof.answered_by} answered")
            lines.append(f"a packet from the internet to {transport}/{port}: refused ({proof.how})")
        return lines

    def arrives(self, transport: Transport, port: int, host: str, *, timeout: float = 2.0) -> str:
        """A line that says who got the packet and whom it saw. Raises NotProved where it did not arrive."""
        proof = self.knock(transport, port, timeout=timeout)
        peer = self.lab.hosts["peer1"].address
        require(proof.arrived, f"{transport}/{port} did not arrive: {proof.how}")
        require(proof.answered_by == host, f"{transport}/{port} reached {proof.answered_by}, not {host}")
        require(proof.seen_from == peer, f"{host} saw {proof.seen_from}, not the true sender {peer}")
        return f"a packet from the internet to {transport}/{port}: arrives at {host}"
