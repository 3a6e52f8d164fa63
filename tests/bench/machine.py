"""The machine on which the figures were measured, and the share of it that other processes used."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tests import ROOT

BUSY = 0.05
"""If other processes use more than this share of the machine, the figures are marked as noise."""


def describe(peer: str) -> dict[str, object]:
    """Date, machine, kernel and versions. ``peer``: miniupnpd's version, or empty."""
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kb = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    versions = {name: metadata.version(name) for name in ("aiohttp", "uvloop", "msgspec", "upnp-gw")}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(ROOT),
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": memory_kb // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {**versions, "nft": _first_line(["nft", "--version"]), "miniupnpd": peer or "not measured"},
    }


def commit(checkout: Path) -> str:
    """Short name of the commit, with ``+`` where files are changed; ``unknown`` outside of git."""
    if not shutil.which("git"):
        return "unknown"
    name = _first_line(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"])
    changed = _first_line(["git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no"])
    return (name or "unknown") + ("+" if changed else "")


def _first_line(argv: list[str]) -> str:
    out = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    return out.splitlines()[0].strip() if out.strip() else ""


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines()


def _busy_s() -> float:
    """User, nice and system time of the whole machine, without interrupts: those of our packets are among them."""
    fields = _lines("/proc/stat")[0].split()
    return sum(map(int, fields[1:4])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class OtherLoad:
    """The share of the machine that other processes use from now on. ``own_s``: CPU seconds of our daemons."""

    own_s: Callable[[], float]
    started: float = 0.0
    busy_s: float = 0.0
    mine_s: float = 0.0

    def __post_init__(self) -> None:
        self.started, self.busy_s, self.mine_s = time.monotonic(), _busy_s(), self._mine_s()

    def share(self) -> float:
        """0 to 1, of all cores."""
        others = _busy_s() - self.busy_s - (self._mine_s() - self.mine_s)
        return max(0.0, others / ((time.monotonic() - self.started) * (os.cpu_count() or 1)))

    def _mine_s(self) -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system + self.own_s()
