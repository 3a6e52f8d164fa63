"""The policies that the commands of ``policy`` read: files, and the one in force."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli.backup import CONFIG
from upnp_gw.cli.client import DaemonClient, DaemonUnreachable, RequestProblem
from upnp_gw.cli.terminal import print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

if TYPE_CHECKING:  # the gate takes longer to import than a daemon to answer
    from upnp_gw.gate.build import ManagedPolicy
    from upnp_gw.gate.schema import Policy


def exit_with_problem(error: ConfigError, as_json: bool, code: int) -> NoReturn:
    """Prints the error and ends the program with this exit code."""
    if as_json:
        report = {"ok": False, "file": error.where, "line": error.line, "key": error.key, "problem": error.problem}
        click.echo(json.dumps(report))
    else:
        print_text(shown(str(error), 1000), err=True)
    sys.exit(code)


def policy_of_file(file: Path) -> "Policy":
    """The policy of a file. Its tests and invariants are not looked at. Raises ConfigError."""
    from upnp_gw.gate.build import build_policy
    from upnp_gw.gate.index import with_indexes
    from upnp_gw.gate.load import read_named_text
    from upnp_gw.text.toml import locate_errors, parse_tables

    text = read_named_text(file)
    with locate_errors(text, str(file)):
        return with_indexes(build_policy(parse_tables(text, str(file)), str(file)))


def policy_in_force(daemon: DaemonClient) -> "Policy":
    """The policy in force, with the rules that commands wrote. Raises ConfigError."""
    from upnp_gw.gate.build import build_policy
    from upnp_gw.gate.index import with_indexes
    from upnp_gw.text.toml import parse_tables

    now = msgspec.json.decode(daemon.request("GET", "/v1/policy"), type=api.PolicyText)
    return with_indexes(build_policy(parse_tables(now.text, now.source), now.source, written_rules(now)))


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """approved.toml, the file that commands write."""

    path: Path
    text: str

    def rules(self) -> "ManagedPolicy":
        """Its rules, without those that have ended. Raises ConfigError."""
        from upnp_gw.gate.build import ManagedPolicy
        from upnp_gw.gate.managed_file import ended
        from upnp_gw.text.toml import parse_tables

        raw = parse_tables(self.text, str(self.path))
        return ManagedPolicy(raw, str(self.path), ended(raw, datetime.now(UTC).timestamp()))


def written_beside(policy: Path, daemon: DaemonClient) -> WrittenFile | None:
    """The approved.toml of the gateway whose policy this file is: of the one that runs, else of the one that
    ``CONFIG`` describes. None: there is no such gateway, or this user cannot read it."""
    from upnp_gw.config.file_places import read_places
    from upnp_gw.engine.policy_files import APPROVED
    from upnp_gw.gate.load import read_named_text

    try:
        now = msgspec.json.decode(daemon.request("GET", "/v1/policy"), type=api.PolicyText)
        if _same(policy, now.source):
            return WrittenFile(Path(now.approved_file), now.approved) if now.approved else None
    except (DaemonUnreachable, RequestProblem, msgspec.MsgspecError):
        pass
    try:
        places = read_places(None, CONFIG, None)
        path = places.state_dir / APPROVED
        if places.policy is None or not _same(policy, str(places.policy)) or not path.exists():
            return None
        return WrittenFile(path, read_named_text(path))
    except (ConfigError, OSError):
        return None


def _same(file: Path, source: str) -> bool:
    try:
        return file.samefile(source)
    except OSError:
        return False


def written_rules(now: api.PolicyText) -> "ManagedPolicy | None":
    """The rules that commands wrote, without those that have ended; None: there are none."""
    return WrittenFile(Path(now.approved_file), now.approved).rules() if now.approved else None
