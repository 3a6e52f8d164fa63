"""The home of a soak: four hosts, the daemon with fault points, what can be done to it, and the invariants."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROOMY, ROUTER, Home
from tests.soak.daemon_with_faults import FAULTS
from upnp_gw.lab import CONSOLE, HOME, PC, Lab, LanHost, Topology
from upnp_gw.lab.daemon import START_S, STOP_S, LabDaemon
from upnp_gw.lab.machine import Machine

TV, NAS = LanHost("tv", 30, "64:16:66:00:00:04"), LanHost("nas", 40, "00:11:32:00:00:05")
HOSTS = (CONSOLE, PC, TV, NAS)
TOPOLOGY = Topology(lans=(replace(HOME, hosts=HOSTS),))
BOTS = "bots.txt"
POLICY = (
    ROOMY.replace("{limits}\n", "")
    + f"""
[device.tv]
mac = ["{TV.mac}"]

[set.bots]
file = "{BOTS}"

[[forbid]]
name = "no-bots"
who = "tv"
remote = ["@bots"]

[[never]]
name = "nobody opens a low port"
request = {{ int = "1-1023" }}

[[never]]
name = "no bot connects to the tv"
from = {{ device = "tv" }}
unless = {{ remote = {{ never = ["@bots"] }} }}
"""
)
"""Mappings of the tv are for all remote hosts but those of a list, which changes."""

FEW_BOTS, MANY_BOTS = 3, 5_000
"""Entries of the list: more than one portion of the kernel."""
READINGS = 20
"""At most, until the ledger stays the same during one of them."""
Open = dict[str, tuple[str, int, str, int]]
"""Mapping id -> (transport, external port, internal address, internal port)."""


class FaultyDaemon(LabDaemon):
    """The daemon of ``tests.soak.daemon_with_faults``. ``faults``: the directory of its faults."""

    def __init__(self, host: Machine, directory: Path, *options: str) -> None:
        super().__init__(host, directory, *options)
        self.faults = directory / "faults"
        self.faults.mkdir()
        self.environment: dict[str, str] = {}
        """Variables of the next start."""

    @property
    def argv(self) -> list[str]:
        command = [sys.executable, "-m", "tests.soak.daemon_with_faults", *super().argv[3:]]
        variables = {FAULTS: str(self.faults), **self.environment}
        return ["env", *(f"{name}={value}" for name, value in variables.items()), *command]

    def start(self, timeout: float = START_S) -> None:
        """The same; where it is not ready in time, its last words are where each of its threads is."""
        with self._overdue(timeout - 5):
            super().start(timeout)

    def stop(self) -> int:
        """The same; where it hangs, its last words are where each of its threads is."""
        with self._overdue(STOP_S - 5):
            return super().stop()

    @contextmanager
    def _overdue(self, seconds: float) -> Iterator[None]:
        process = self._process

        def ask() -> None:
            with suppress(ProcessLookupError, AttributeError):
                (self._process or process).send_signal(signal.SIGUSR1)  # type: ignore[union-attr]

        timer = threading.Timer(seconds, ask)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def last_words(self, lines: int = 80) -> str:
        return super().last_words(lines)

    def fault(self, name: str, what: str) -> None:
        """From now on, until ``cure``. Seen whole or not at all."""
        fresh = self.faults / f".{name}"
        fresh.write_text(what)
        fresh.rename(self.faults / name)

    def cure(self, *names: str) -> None:
        for name in names:
            (self.faults / name).unlink(missing_ok=True)

    @contextmanager
    def faulty(self, name: str, what: str) -> Iterator[None]:
        self.fault(name, what)
        try:
            yield
        finally:
            self.cure(name)

    def died(self, timeout: float) -> bool:
        """Waits until it has ended by itself; False: it lives on."""
        assert self._process is not None
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._join()
        self._process = None
        return True


@dataclass
class Household(Home):
    """A home whose daemon can be made to fail."""

    daemon: FaultyDaemon

    def change_list(self, entries: int, first: int = 0) -> None:
        """The address list is another one; returns when it is in force."""
        write_list(self.daemon.state_dir.parent / BOTS, entries, first)
        assert until(lambda: self.listed() == entries, 30), f"{self.listed()} entries and not {entries}"

    def listed(self) -> int:
        """The number of entries of the address list that is in force."""
        (found,) = self.ask("GET", "/v1/policy")["lists"]
        return int(found["entries"])

    def stored(self) -> Open:
        """The rows on disk, read beside the daemon."""
        uri = f"file:{self.daemon.state_dir / 'ledger.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as db:
            rows = db.execute("SELECT id, transport, external_port, internal_address, internal_port FROM mappings")
            return {f"m{row[0]}": tuple(row[1:]) for row in rows}

    def disagreement(self) -> str:
        """The differences between ledger, kernel and store; empty: none.

        The gateway parks and renews mappings while the clients rest. If the ledger changes while the kernel and the
        store are read, all of it is read again."""
        before = self._ledger()
        for _ in range(READINGS):
            kernel, stored, after = self.installed(), self.stored(), self._ledger()
            if before == after:
                break
            before = after
        ledger, active = before
        result = {
            "in the ledger and not in the kernel": active - kernel.keys(),
            "in the kernel and not in the ledger": kernel.keys() - active,
            "in the ledger and not in the store": ledger.keys() - stored.keys(),
            "in the store and not in the ledger": stored.keys() - ledger.keys(),
            "different in the kernel": {i for i in active & kernel.keys() if kernel[i] != ledger[i]},
            "different in the store": {i for i in ledger.keys() & stored.keys() if stored[i] != ledger[i]},
        }
        return "; ".join(f"{what}: {sorted(ids)[:8]}" for what, ids in result.items() if ids)

    def _ledger(self) -> tuple[Open, set[str]]:
        """All rows, and the ids of the active ones, at one moment."""
        rows = self.rows()
        every = {
            r["id"]: (r["transport"], r["external_port"], r["internal_client"], r["internal_port"]) for r in rows
        }
        return every, {r["id"] for r in rows if r["state"] == "active"}


def write_list(file: Path, entries: int, first: int = 0) -> None:
    """Replaces the address list as a whole: so many prefixes, from this one on."""
    base = int(IPv4Address("100.64.0.0"))
    new = file.with_suffix(".new")
    new.write_text("".join(f"{IPv4Address(base + 512 * (first + number))}/24\n" for number in range(entries)))
    new.rename(file)


@contextmanager
def household(directory: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Household]:
    """The home, served. ``environment``: more variables of the daemon."""
    policy = directory / "policy.toml"
    policy.write_text(POLICY)
    write_list(policy.with_name(BOTS), FEW_BOTS)
    given = ("--lan", HOME.interface, "--wan", TOPOLOGY.wan, "--policy", str(policy), *ROUTER, *options)
    with Lab(TOPOLOGY) as lab:
        daemon = FaultyDaemon(lab.gateway, directory, *given)
        daemon.environment.update(environment or {})
        with daemon:
            yield Household(lab, daemon)
