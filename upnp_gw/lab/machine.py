"""The processes of one machine of a lab: starts them, waits for them, ends them.

One thread, which lives as long as the machine, starts every child. ``Host`` moves that thread into a namespace. And
PR_SET_PDEATHSIG, which kills the children if this process dies, depends on the thread that forked.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from upnp_gw.lab.privilege import TOOL_PATH

P = ParamSpec("P")
T = TypeVar("T")

STOP_S = 5.0
"""Seconds from SIGTERM to SIGKILL."""


class Machine:
    """This machine itself; ``Host`` is one in a namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._processes: list[subprocess.Popen[str]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"lab-{name}")

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function on the machine's thread. It must not block for long."""
        return self._thread.submit(function, *args, **kwargs).result()

    def popen(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: int | IO[str] | None = subprocess.DEVNULL,
        stdout: int | IO[str] | None = subprocess.PIPE,
        stderr: int | IO[str] | None = subprocess.STDOUT,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        pass_fds: Sequence[int] = (),
        own_session: bool = False,
    ) -> subprocess.Popen[str]:
        """Starts a process here. ``close`` ends it, and it is killed if this process dies. ``own_session``: a
        Ctrl-C at the terminal is not for it."""

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                text=True,
                errors="replace",
                cwd=cwd or Path.cwd(),
                env={**os.environ, **(env or {}), "PATH": TOOL_PATH},
                pass_fds=tuple(pass_fds),
                start_new_session=own_session,
            )

        process = self.call(start)
        self._processes = [p for p in self._processes if p.poll() is None]
        self._processes.append(process)
        return process

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float = 20.0,
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command here to its end, with ``text`` on its stdin. stdout and stderr are separate.

        Raises subprocess.TimeoutExpired (the process is killed) and, with ``check``, CalledProcessError with the
        output as a note.
        """
        stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
        process = self.popen(argv, stdin=stdin, stderr=subprocess.PIPE, env=env, cwd=cwd, pass_fds=pass_fds)
        with process:
            try:
                out, err = process.communicate(text, timeout=timeout)
            except BaseException:
                process.kill()
                raise
        result = subprocess.CompletedProcess(list(argv), process.returncode, out, err)
        if check and result.returncode != 0:
            failed = subprocess.CalledProcessError(result.returncode, result.args, out, err)
            failed.add_note(f"in {self.name}: {out}{err}")
            raise failed
        return result

    def stop(self, process: subprocess.Popen[str]) -> int:
        """Ends one process of this machine: SIGTERM, then SIGKILL. Returns its exit code."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return code

    def close(self) -> None:
        """Ends every process, newest first. May be called again."""
        while self._processes:
            self.stop(self._processes.pop())
        self._thread.shutdown()
