"""The policies that the commands of ``policy`` read: files, and the one in force."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli.client import DaemonClient
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


def written_rules(now: api.PolicyText) -> "ManagedPolicy | None":
    """The rules that commands wrote, without those that have ended; None: there are none."""
    from upnp_gw.gate.build import ManagedPolicy
    from upnp_gw.gate.managed_file import ended
    from upnp_gw.text.toml import parse_tables

    if not now.approved:
        return None
    raw = parse_tables(now.approved, now.approved_file)
    return ManagedPolicy(raw, now.approved_file, ended(raw, datetime.now(UTC).timestamp()))
