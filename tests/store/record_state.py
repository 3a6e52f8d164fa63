"""Records the state of a home under a released upnp-gw, for tests of upgrades: tests/store/states/*.tar.xz

    .venv/bin/python -m tests.store.record_state v0.1.0

makes a work tree of that tag, and runs its own daemon in its own lab. The archive has the state directory, that of
the page, the policy, and the listings of that version (expected.json). Record each release once, when it is
tagged, and keep the archive.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
POLICY = """\
version = 1
default = "ask"

[device.console]
mac = ["{console}"]

[[grant]]
name = "console-games"
who = "console"
"""
DAY_S = 86400
PINHOLE_PORT, IGD_PORT, PCP_PORT, ASKED_PORT, OPERATOR_PORT = 6000, 3074, 3478, 8080, 8443
"""External ports of the recorded mappings. They lead to the same internal ports."""


def record(directory: Path) -> None:
    """Runs with the older version in front of the path, in a lab: makes the state below ``directory``."""
    from tests.lab.end_to_end import pinhole, served_home
    from tests.lab.igd_control_point import Fault
    from upnp_gw.lab import Topology
    from upnp_gw.lab.daemon import COMMAND
    from upnp_gw.model.mapping import Transport
    from upnp_gw.page.tokens import Tokens
    from upnp_gw.protocols.igd_services import IgdVersion

    (mac,) = (host.mac for lan in Topology().lans for host in lan.hosts if host.name == "console")
    with served_home(directory, "--firewall", "router", policy=POLICY.replace("{console}", mac)) as home:
        console, pc = home.point("console"), home.point("pc")
        console.add(IGD_PORT, Transport.UDP, NewLeaseDuration=0)
        request = [*COMMAND, "request", "tcp", str(PCP_PORT), "--ttl", "20h"]
        home.console.run(request, env={"XDG_STATE_HOME": str(directory / "client")})
        pinhole(home.point("console", IgdVersion.IGD2), PINHOLE_PORT, LeaseTime=DAY_S)
        try:
            pc.add(ASKED_PORT, NewLeaseDuration=3600)
        except Fault:
            (question,) = home.daemon.json("queue")
        home.daemon.cli("approve", str(question["number"]), "--for", "300d")
        home.daemon.cli("name", str(home.pc.address), "study")
        home.daemon.cli("allow", str(home.pc.address), "51413")
        home.daemon.cli("add", "tcp", str(OPERATOR_PORT), f"{home.console.address}:443", "--ttl", "300d")
        token = Tokens(directory / "page").create("scripts", acts=False, for_s=None)
        expected = {
            "wall": time.time(),
            "mappings": home.rows(),
            "devices": home.daemon.json("devices"),
            "decisions": [json.loads(line) for line in home.daemon.cli("log", "--json").stdout.splitlines()],
            "token": token,
        }
        home.daemon.stop()
    (directory / "expected.json").write_text(json.dumps(expected, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        record(given.inside)
        return
    with tempfile.TemporaryDirectory() as name:
        old, directory = Path(name, "old"), Path(name, "home")
        directory.mkdir()
        git = ["git", "-C", str(HERE.parent.parent)]
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(old), given.tag], check=True)
        try:
            enter = [sys.executable, "-m", "upnp_gw.lab.enter", sys.executable, "-P"]
            command = [*enter, str(Path(__file__).resolve()), given.tag, "--inside", str(directory)]
            subprocess.run(command, cwd=old, env={**os.environ, "PYTHONPATH": str(old)}, check=True)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(old)], check=True)
        archive = HERE / "states" / f"{given.tag.removeprefix('v')}.tar.xz"
        with tarfile.open(archive, "w:xz") as tar:
            for kept in ("state", "page", "policy.toml", "expected.json"):
                tar.add(directory / kept, kept)
    print(archive, archive.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
