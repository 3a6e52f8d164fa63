"""Tries the container images: ``python -m tests.containers STORAGE ROUTER EMULATOR``, from tests/containers.sh.

The router runs in the network namespace of a lab's gateway, which stands for the network of its host. It has
CAP_NET_ADMIN and nothing else, no new privileges, a root that is read-only, and its state in a volume. The emulator
runs on a LAN of the lab, without any capability. Needs root.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab.end_to_end import TCP
from tests.lab.igd_control_point import ControlPoint, refused
from upnp_gw.lab import Host, Lab
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.protocols.igd_services import IgdVersion

STARTED_S, PAUSE_S = 180.0, 0.2
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
NET_ADMIN, NET_ADMIN_AND_RAW = 1 << 12, 1 << 12 | 1 << 13
CONFIG = '[lan]\ninterfaces = ["lan0"]\n[wan]\ninterface = "wan0"\n'
MASQUERADE = (
    "table ip nat { chain postrouting { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }; }"
)
PORT = 8080


class Engine:
    """podman, with the storage of the script."""

    def __init__(self, storage: str) -> None:
        place = ("--root", storage, "--runroot", "/run/upnp-gw-containers", "--storage-driver", "vfs")
        self._command = ["podman", *place]

    def run(self, *words: str, check: bool = True, sent: bytes | None = None) -> bytes:
        """Its output. Ends the program if it fails, unless ``check`` is False."""
        done = subprocess.run([*self._command, *words], capture_output=True, input=sent, timeout=300)
        if check and done.returncode:
            text = done.stderr.decode("utf-8", "replace")
            raise SystemExit(f"FAILED: podman {' '.join(words)} ended with {done.returncode}:\n{text}")
        return done.stdout

    @contextmanager
    def running(
        self, host: Host, image: str, name: str, options: Sequence[str], command: Sequence[str] = ()
    ) -> Iterator[None]:
        """A container in the network namespace of this host, until the block ends."""
        network = f"ns:/proc/{os.getpid()}/fd/{host.descriptor}"
        self.run("run", "--detach", "--name", name, "--network", network, *options, image, *command)
        try:
            yield
        except BaseException:
            print(self.run("logs", name, check=False).decode("utf-8", "replace"), file=sys.stderr)
            raise
        finally:
            self.run("rm", "--force", "--time", "20", name)

    def inside(self, name: str, *words: str, check: bool = True) -> str:
        return self.run("exec", name, *words, check=check).decode()

    def healthy(self, name: str) -> bool:
        """The image's own check of health passes."""
        found = subprocess.run([*self._command, "healthcheck", "run", name], capture_output=True, timeout=STARTED_S)
        return found.returncode == 0

    def rights(self, name: str) -> dict[str, int]:
        """The capabilities of its first process, its user, and whether it can get new privileges."""
        status = dict(line.split(":", 1) for line in self.inside(name, "cat", "/proc/1/status").splitlines())
        rights = {word: int(status[word], 16) for word in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}
        return {**rights, "NoNewPrivs": int(status["NoNewPrivs"]), "user": int(status["Uid"].split()[1])}


def passed(what: str) -> None:
    print(f"ok    {what}", flush=True)


def await_(what: str, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STARTED_S
    while not reached():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: {what} within {STARTED_S:.0f} s")
        time.sleep(PAUSE_S)


def check(what: str, fits: object) -> None:
    if not fits:
        raise SystemExit(f"FAILED: {what}")
    passed(what)


def try_router(engine: Engine, image: str, directory: Path) -> None:
    (directory / "config.toml").write_text(CONFIG)
    volumes = (f"{directory}:/etc/upnp-gw:ro", "upnp-gw-try-state:/var/lib/upnp-gw")
    options = [*HARDENED, *(word for volume in volumes for word in ("--volume", volume))]
    options += ["--tmpfs", "/run:mode=755", "--tmpfs", "/tmp"]
    raw = [*options, "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"]
    engine.run("volume", "rm", "--force", "upnp-gw-try-state")
    with Lab() as lab:
        # the host's own part, as in docs/containers.md: it forwards and masquerades
        lab.gateway.nft(MASQUERADE)
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        with engine.running(lab.gateway, image, "router", [*options, "--cap-add", "NET_ADMIN"]):
            await_("the router answers", lambda: engine.healthy("router"))
            _check_rights(engine, NET_ADMIN)
            _check_way(engine, lab)
            backup = engine.run("exec", "router", "upnp-gw", "backup", "-")
            check("a backup comes out of it over standard output", len(backup) > 10_000)
            engine.inside("router", "upnp-gw", "erase", "--deleted")
            passed("the database is written anew with a root that is read-only")
        external = lab.external[0]
        with EchoServer(lab.hosts["console"], TCP, PORT):
            check("the port is open while the container is away", reach(lab.hosts["peer1"], TCP, external, PORT))
            with engine.running(lab.gateway, image, "router", raw):
                await_("it answers again", lambda: engine.healthy("router"))
                rows = json.loads(engine.inside("router", "upnp-gw", "list", "--json"))
                check("another container goes on with the state of the volume", len(rows) == 1)
                log = engine.run("logs", "router").decode()
                check("with NET_RAW it hears every host", "CAP_NET_RAW" not in log)
                check("and gives it up", engine.rights("router")["CapPrm"] in (NET_ADMIN, NET_ADMIN_AND_RAW))
        _check_restore(engine, image, options, backup, lab)
    engine.run("volume", "rm", "--force", "upnp-gw-try-state")


def _check_rights(engine: Engine, wanted: int) -> None:
    rights = engine.rights("router")
    check(f"capabilities are {wanted:#x} alone", {rights[w] for w in ("CapPrm", "CapEff", "CapBnd")} == {wanted})
    check("no new privileges", rights["NoNewPrivs"] == 1)
    check(
        "nobody can write to its root", "Read-only" in engine.inside("router", "sh", "-c", "touch /x 2>&1 || true")
    )


def _check_way(engine: Engine, lab: Lab) -> None:
    point = ControlPoint(lab.hosts["console"], lab.gateway.address, IgdVersion.IGD1)
    with EchoServer(lab.hosts["console"], TCP, PORT):
        check("the port is shut", not reach(lab.hosts["peer1"], TCP, lab.external[0], PORT, timeout=0.5))
        point.add(PORT)
        found = reach(lab.hosts["peer1"], TCP, lab.external[0], PORT)
        check("a client maps a port, and a packet from the internet arrives", found.answered_by == "console")
        with refused(606):
            point.add(8081, NewInternalClient=lab.hosts["pc"].address)
        passed("a port for another host is refused")
    listing = engine.inside("router", "upnp-gw", "list")
    check("podman exec router upnp-gw list", str(lab.hosts["console"].address) in listing)
    upnpc = lab.hosts["pc"].run(["upnpc", "-m", "eth0", "-l"], check=False).stdout
    check("upnpc finds it by multicast", f"http://{lab.gateway.address}:5000/" in upnpc)


def _check_restore(engine: Engine, image: str, options: Sequence[str], backup: bytes, lab: Lab) -> None:
    """A machine is replaced: another volume, the backup, and the same client."""
    engine.run("volume", "rm", "--force", "upnp-gw-try-state")
    lab.gateway.nft("delete table inet upnp_gw")
    words = ("run", "--rm", "--interactive", "--network", "none", *options, image)
    engine.run(*words, "restore", "-", "--yes", sent=backup)
    with engine.running(lab.gateway, image, "router", [*options, "--cap-add", "NET_ADMIN"]):
        await_("the restored router answers", lambda: engine.healthy("router"))
        with EchoServer(lab.hosts["console"], TCP, PORT):
            found = reach(lab.hosts["peer1"], TCP, lab.external[0], PORT)
            check(
                "the backup is restored into an empty volume, and the packet arrives",
                found.answered_by == "console",
            )


def try_emulator(engine: Engine, image: str) -> None:
    with Lab() as lab:
        host = lab.gateway
        options = [*HARDENED, "--tmpfs", "/tmp"]
        command = ["--interface", "lan0", "--multicast"]
        with engine.running(host, image, "emulator", options, command):
            await_("the emulator answers", lambda: engine.healthy("emulator"))
            rights = engine.rights("emulator")
            check("it has no capability", {rights[w] for w in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0})
            check("it is not root", rights["user"] != 0)
            pc = lab.hosts["pc"]
            found = pc.run(["upnpc", "-m", "eth0", "-e", "try", "-r", str(PORT), "TCP"], check=False).stdout
            check(
                "upnpc on another host finds it by multicast and maps a port", "is redirected to internal" in found
            )
            control = f"http://{host.address}:5080"
            mappings = json.loads(pc.run(["curl", "-sS", f"{control}/v1/mappings"]).stdout)
            check("its control API answers another host", [m["external_port"] for m in mappings] == [PORT])
            pc.run(["curl", "-sS", f"{control}/v1/faults", "-d", '{"text": "AddPortMapping=718,times=1"}'])
            again = pc.run(["upnpc", "-m", "eth0", "-e", "try", "-r", "8081", "TCP"], check=False)
            check("a fault is in force", "718" in again.stdout + again.stderr)
            page = pc.run(["curl", "-sS", "-H", "Host: attacker.example", f"{control}/v1/state"]).stdout
            check("a page of an attacker cannot use it", json.loads(page)["error"] == "forbidden")
            location = urlsplit(json.loads(pc.run(["curl", "-sS", f"{control}/v1/state"]).stdout)["location"])
            check("it names its address on the LAN", location.hostname == str(host.address))


def main(storage: str, router: str, emulator: str) -> None:
    engine = Engine(storage)
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        try_router(engine, router, Path(directory))
    try_emulator(engine, emulator)
    print("both images work", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
