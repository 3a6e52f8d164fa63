"""A router as the guides have it: eth0 and br-lan, its own /etc and /run, and the daemon with its usual paths.

The gateway of the lab gets mounts of its own, so the commands of a page run as they stand and change nothing of
this machine: /etc is an overlay, /run is empty, and packages that are unpacked for the tests lie over /usr.
"""

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from subprocess import CompletedProcess

from tests.lab.end_to_end import Home
from upnp_gw.lab import HOME, Host, Lab, LanHost, Topology
from upnp_gw.lab.daemon import COMMAND, LabDaemon

LAN = replace(
    HOME,
    interface="br-lan",
    network=IPv4Network("192.168.1.0/24"),
    network6=IPv6Network("2a11:2233:0:1::/64"),
    hosts=(LanHost("console", 23, "ac:89:95:00:00:01"), LanHost("pc", 77, "3c:52:82:00:00:02")),
)
TOPOLOGY = Topology(lans=(LAN,), wan="eth0")
CONFIG = '[lan]\ninterfaces = ["br-lan"]\n\n[wan]\ninterface = "eth0"\n'
RESTART = "systemctl restart upnp-gw"
UNPACKED = Path(__file__).parents[3] / ".venv" / "unpacked"
"""Debian packages that are unpacked and not installed (.ci/prepare.sh)."""


class GuideHome(Home):
    """``shell(block)`` runs the commands of a page, on the gateway or on another host."""

    def shell(self, script: str, host: Host | None = None, check: bool = True) -> str:
        """Runs a block as a root shell would; returns its output. It may restart the unit."""
        output = ""
        for number, part in enumerate(_split(script, RESTART)):
            if number:
                self.daemon.stop()
                self.daemon.start()
            output += bash(host or self.gateway, part, check).stdout
        return output

    def doctor(self) -> str:
        return self.daemon.cli("doctor", check=False).stdout

    def has(self, path: str) -> bool:
        """True if the gateway has this file."""
        return self.gateway.run(["test", "-e", path], check=False).returncode == 0


def bash(host: Host, script: str, check: bool = True) -> CompletedProcess[str]:
    whole = f'set -e\nexec 2>&1\nexport COLUMNS=100\nupnp-gw() {{ {shlex.join(COMMAND)} "$@"; }}\n{script}'
    return host.run(["bash", "-c", whole], check=check, timeout=60.0)


def _split(script: str, line: str) -> list[str]:
    """The parts of a script between those lines."""
    parts: list[list[str]] = [[]]
    for each in script.splitlines():
        if each.strip() == line:
            parts.append([])
        else:
            parts[-1].append(each)
    return ["\n".join(part) for part in parts]


def own_files(host: Host, directory: Path, unpacked: bool = False) -> None:
    """Gives a host its own /etc, a copy of this machine's, and an empty /run. ``unpacked``: and the unpacked
    packages."""
    directory.mkdir()
    lines = [
        f"mount -t tmpfs tmpfs {directory}",
        f"mkdir {directory}/etc {directory}/work",
        f"mount -t overlay overlay -o lowerdir=/etc,upperdir={directory}/etc,workdir={directory}/work /etc",
        "mount -t tmpfs tmpfs /run",
        "mkdir -p /run/upnp-gw /run/lock /etc/upnp-gw",
    ]
    if unpacked:
        assert UNPACKED.is_dir(), f"{UNPACKED} is missing: run tests/run.sh --setup-only"
        lines += [
            f"mount -t overlay overlay -o lowerdir={UNPACKED}/usr:/usr /usr",
            f"cp -a --no-preserve=ownership {UNPACKED}/etc/. /etc/",
        ]
    host.run(["sh", "-e"], text="\n".join(lines))


@contextmanager
def guide_home(
    directory: Path,
    *,
    setup: str = "",
    services: Sequence[str] = (),
    ready: str = "",
    unpacked: bool = False,
    topology: Topology = TOPOLOGY,
    config: str | None = CONFIG,
    forward: bool = True,
) -> Iterator[GuideHome]:
    """A router and its daemon. Before that starts: the script ``setup``, then ``services``, which stay, then the
    script ``ready``. ``config`` None: there is no configuration, and the test starts the daemon."""
    with Lab(topology) as lab:
        gateway = lab.gateway
        own_files(gateway, directory / "own", unpacked)
        if forward:
            for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
                gateway.sysctl(key, "1")
        bash(gateway, setup)
        for command in services:
            gateway.popen(["bash", "-c", f"exec {command}"], stdout=subprocess.DEVNULL)
        bash(gateway, ready)
        if config is not None:
            gateway.run(["tee", "/etc/upnp-gw/config.toml"], text=config)
        daemon = LabDaemon(gateway, directory, "--config", "/etc/upnp-gw/config.toml")
        gateway.run(["mount", "--bind", daemon.runtime_dir, "/run/upnp-gw"])
        try:
            if config is not None:
                daemon.start()
            yield GuideHome(lab, daemon)
        finally:
            daemon.stop()
