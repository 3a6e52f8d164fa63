"""The demo without namespaces: the real daemon on loopback with the memory backend. It opens no port anywhere.

The console and the PC are two addresses of 127.0.0.0/8. What is seen are decisions, never packets.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from upnp_gw.lab.daemon import Daemon
from upnp_gw.lab.demo.report import ROOM, Found
from upnp_gw.lab.demo.stage import control_point, require
from upnp_gw.lab.demo.steps import GAME, HOME_LIMIT, LEASE_S, WANTED, reason_of
from upnp_gw.lab.machine import Machine

CONSOLE = IPv4Address("127.77.0.10")
PC = IPv4Address("127.77.0.20")


@dataclass(frozen=True, slots=True)
class Scene:
    machine: Machine
    daemon: Daemon

    @property
    def location(self) -> str:
        locations: list[str] = self.daemon.json("status")["locations"]
        return next(location for location in locations if "127.0.0.1" in location)


@contextmanager
def rehearsal(directory: Path) -> Iterator[Scene]:
    """The daemon's place: loopback as the LAN, any other interface as the WAN, which it only looks at."""
    machine = Machine("this machine")
    options = ("--lan", "lo", "--wan", _wan(), "--backend", "memory", "--http-port", "0")
    daemon = Daemon(machine, directory, *options)
    try:
        yield Scene(machine, daemon)
    finally:
        daemon.stop()
        machine.close()


def _wan() -> str:
    """The interface of the default route; where there is none, any but loopback."""
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    defaults = [fields[0] for fields in routes if fields[1] == "00000000"]
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    return next(iter(defaults + others), "none")


def start(scene: Scene) -> Found:
    scene.daemon.start()
    return Found(
        ["$ upnp-gw " + " ".join(("run", *scene.daemon.options)), *(f"  {x}" for x in scene.daemon.output)]
    )


def ask(scene: Scene) -> Found:
    actions = [f"add:{transport}:{GAME}:{GAME}:{LEASE_S}" for transport in ("tcp", "udp")]
    _, *answers = control_point(scene.machine, str(CONSOLE), scene.location, actions)
    require(all(answer["ok"] for answer in answers), f"the console was refused: {answers}")
    return Found([f"the console is granted tcp/{GAME} and udp/{GAME} (decided; nothing is open)"])


def infected(scene: Scene) -> Found:
    actions = [f"add:tcp:{port}:{port}:{LEASE_S}" for port in WANTED]
    _, *answers = control_point(scene.machine, str(PC), scene.location, actions)
    granted = sum(answer["ok"] for answer in answers)
    require(0 < granted <= HOME_LIMIT, f"the infected PC was granted {granted} of {len(WANTED)} ports")
    reasons = Counter(reason_of(answer) for answer in answers if not answer["ok"])
    return Found(
        [
            f"the infected PC asks for {len(WANTED)} ports: granted {granted}",
            *(f"refused {count}: {reason}" for reason, count in reasons.items()),
        ],
        {"asked": len(WANTED), "granted": granted, "refused": dict(reasons)},
    )


def listing(scene: Scene) -> Found:
    table = scene.daemon.cli("list", columns=ROOM).stdout.splitlines()
    return Found(["$ upnp-gw list", *(f"  {line}" for line in table)], {"mappings": scene.daemon.json("list")})


def stop(scene: Scene) -> Found:
    code = scene.daemon.stop()
    require(code == 0, f"the daemon ended with code {code}:\n{scene.daemon.last_words()}")
    return Found(["the daemon stopped; nothing was opened, so nothing is left"])


STEPS: tuple[tuple[str, str, Callable[[Scene], Found]], ...] = (
    ("start", "The real daemon on loopback, memory backend", start),
    ("ask", "The console asks for a port: what is decided", ask),
    ("infected", "An infected PC asks for everything: what is decided", infected),
    ("list", "What the operator sees", listing),
    ("stop", "Stopped again", stop),
)
