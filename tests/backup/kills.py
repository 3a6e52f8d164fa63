"""``upnp-gw restore`` that is killed before its Nth step, for N from 0 on until it succeeds. For test_placing.

A step is an operation on a file or a connection to a database, as Python's audit hooks report them. After each kill
the next start of the gateway is imitated. Prints a line of JSON for each kill.
"""

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path

LOADED = (
    *("cli.restore", "backup.report", "config.file_places", "config.interface_detection", "system.owners"),
    *("system.privileges", "system.clock", "system.state_lock"),
)
STEPS = {"os.rename", "os.remove", "os.link", "os.truncate", "sqlite3.connect", "open"}


def main(template: Path, file: Path, work: Path) -> None:
    from upnp_gw.backup.placing import finish
    from upnp_gw.cli import main as command

    for module in LOADED:  # once, and not in each child
        import_module(f"upnp_gw.{module}")
    number = 0
    while True:
        state = work / f"s{number}"
        shutil.copytree(template, state)
        child = os.fork()
        if child == 0:
            _kill_at(number, state)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            command(["restore", str(file), "--yes", "--state-dir", str(state), "--runtime-dir", str(work)])
            os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        interrupted = finish(state)
        print(json.dumps({"status": status, "finished": interrupted, **found(state)}), flush=True)
        if status >= 0:
            return
        shutil.rmtree(state)
        number += 1


def found(state: Path) -> dict[str, object]:
    """The state as the next start sees it."""
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        (uuid,) = db.execute("SELECT value FROM meta WHERE key = 'uuid'").fetchone()
        mappings = [row[0] for row in db.execute("SELECT id FROM mappings ORDER BY id")]
        (sound,) = db.execute("PRAGMA integrity_check").fetchone()
    rules = state / "approved.toml"
    names = sorted(path.name for path in state.iterdir())
    return {
        "uuid": uuid,
        "mappings": mappings,
        "sound": sound,
        "rules": rules.read_text() if rules.exists() else "",
        "left": [name for name in names if ".restor" in name or ".backup-" in name],
        "kept": [name for name in names if ".kept-" in name],
    }


def _kill_at(number: int, state: Path) -> None:
    left = number

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event not in STEPS or str(state) not in str(arguments[0]):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(count)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
