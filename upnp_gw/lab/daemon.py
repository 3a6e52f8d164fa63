"""Runs the real daemon (``upnp-gw run``) as a process in a host of the lab, and commands against it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from upnp_gw.lab.machine import Machine
from upnp_gw.system.process import HEAP_VARIABLES

START_S = 30.0
"""Most seconds until the daemon is ready. It takes 0.5 s; a loaded machine takes longer."""

STOP_S = 30.0
"""Most seconds until the daemon has stopped: 10 s for running HTTP requests, the rest for a loaded machine."""

COMMAND = (sys.executable, "-m", "upnp_gw")


class DaemonFailed(Exception):
    """The daemon did not start, ended by itself, or did not stop. The text has its last output."""


class LabDaemon:
    """``with LabDaemon(lab.gateway, tmp_path, "--lan", "lan0", "--wan", "wan0", ...) as daemon:
    daemon.json("list")``

    State and runtime directories are made below ``directory`` and stay: ``kill()`` or ``stop()`` and then
    ``start()`` is a restart. The daemon reports by sd_notify when it is ready.
    """

    def __init__(self, host: Machine, directory: Path, *options: str) -> None:
        self.host = host
        self.state_dir = directory / "state"
        self.runtime_dir = directory / "run"
        self.options = options
        self.output: list[str] = []
        """Every line that it has printed, over all starts."""
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        for path in (self.state_dir, self.runtime_dir):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def argv(self) -> list[str]:
        return [
            *(*COMMAND, "run", "--user", "root", *self.options),  # the last --user counts
            *("--state-dir", str(self.state_dir), "--runtime-dir", str(self.runtime_dir)),
        ]

    @property
    def command(self) -> list[str]:
        """The program, for commands against this daemon."""
        return list(COMMAND)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the daemon was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = START_S) -> None:
        """Starts it and returns when it is ready to serve. Raises DaemonFailed."""
        assert not self.running, "the daemon runs already"
        address = self.runtime_dir.with_name("notify.sock")
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(str(address))
            address.chmod(0o666)  # like systemd's: a daemon that runs as its own user must reach it too
            environment = {"NOTIFY_SOCKET": str(address), "PYTHONUNBUFFERED": "1", **HEAP_VARIABLES}
            self._process = self.host.popen(self.argv, env=environment, own_session=True)
            self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
            self._reader.start()
            try:
                self._await_ready(supervisor, self._process, timeout)
            except BaseException:
                self.stop()
                raise
            finally:
                address.unlink(missing_ok=True)

    def stop(self) -> int:
        """SIGTERM, as systemd would. Returns the exit code, 0 if it never ran. Raises DaemonFailed after STOP_S."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: the daemon cannot clean up."""
        return self._end(signal.SIGKILL)

    def cli(
        self, *arguments: str, check: bool = True, timeout: float = 30.0, columns: int = 80
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command of upnp-gw against this daemon: ``daemon.cli("delete", "m1")``."""
        argv = [*self.command, *arguments, "--runtime-dir", str(self.runtime_dir)]
        return self.host.run(argv, check=check, timeout=timeout, env={"COLUMNS": str(columns)})

    def json(self, *arguments: str, timeout: float = 30.0) -> Any:
        """The same with ``--json``; returns the decoded output."""
        return json.loads(self.cli(*arguments, "--json", timeout=timeout).stdout)

    def last_words(self, lines: int = 12) -> str:
        """The last lines of its output."""
        return "\n".join(self.output[-lines:]) or "(it printed nothing)"

    def _await_ready(self, supervisor: socket.socket, process: "subprocess.Popen[str]", timeout: float) -> None:
        ended = os.pidfd_open(process.pid)
        try:
            while True:
                readable, _, _ = select.select([supervisor.fileno(), ended], [], [], timeout)
                if supervisor.fileno() in readable:
                    if "READY=1" in supervisor.recv(4096).decode().splitlines():
                        return
                elif readable:
                    code = process.wait()
                    self._join()
                    raise DaemonFailed(f"the daemon ended with code {code}:\n{self.last_words()}")
                else:
                    raise DaemonFailed(f"the daemon was not ready after {timeout:.0f} s:\n{self.last_words()}")
        finally:
            os.close(ended)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(ProcessLookupError):
            process.send_signal(number)
        if process.poll() is None and not _ends(process.pid, STOP_S):
            process.kill()
            process.wait()
            self._join()
            raise DaemonFailed(f"the daemon did not stop within {STOP_S:.0f} s:\n{self.last_words(60)}")
        code = process.wait()
        self._join()
        return code

    def _join(self) -> None:
        if self._reader is not None:
            self._reader.join()
            self._reader = None

    def _read(self, process: "subprocess.Popen[str]") -> None:
        """Reads the pipe, so that the daemon never blocks on its output."""
        assert process.stdout is not None
        with process.stdout as pipe:
            for line in pipe:
                self.output.append(line.rstrip("\n"))


def _ends(pid: int, timeout: float) -> bool:
    """True if a child that was not waited for ends within these seconds. ``Popen.wait`` would look every 50 ms."""
    ended = os.pidfd_open(pid)
    try:
        return bool(select.select([ended], [], [], timeout)[0])
    finally:
        os.close(ended)
