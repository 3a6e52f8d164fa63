"""``policy diff --all`` and ``policy show --device``: answers over all requests."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from upnp_gw.cli.client import REFUSED, DaemonClient
from upnp_gw.cli.policy_sources import exit_with_problem, policy_in_force, policy_of_file
from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, paint, print_text
from upnp_gw.gate.proof.boxes import UNDECIDED
from upnp_gw.gate.proof.device_table import device_table
from upnp_gw.gate.proof.differences import Differences, Kind
from upnp_gw.gate.schema import Policy
from upnp_gw.gate.values import known_names
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

UNKNOWN = 2
COLOURS = {Kind.MORE: BAD, Kind.LESS: GOOD, Kind.OTHER: CAUTION}
T = TypeVar("T")


def compare(daemon: DaemonClient, as_json: bool, old_file: Path | None, new_file: Path) -> None:
    """Prints every difference, and ends the program. ``old_file`` None: the policy in force."""
    try:
        old = policy_of_file(old_file) if old_file is not None else policy_in_force(daemon)
        new = policy_of_file(new_file)
    except ConfigError as error:
        exit_with_problem(error, as_json, UNKNOWN)
    found = _decided(lambda: list(Differences(old, new, datetime.now(UTC).timestamp()).all()))
    limits = _limits(old, new)
    if as_json:
        click.echo(
            json.dumps(
                {"equal": not found and not limits, "limits": limits, "differences": list(map(asdict, found))}
            )
        )
    else:
        for kind in Kind:
            for one in (one for one in found if one.kind is kind):
                print_text(f"{paint(kind.value, COLOURS[kind])}: {shown(one.text, 1000)}", further="    ")
                print_text(f"    was {shown(one.was, 200)}, becomes {shown(one.now, 200)}", further=" " * 8)
        for text in limits:
            print_text(f"limits: {text}")
        if not found and not limits:
            print_text(f"{paint('equal', GOOD)}: both answer every request alike")
    sys.exit(REFUSED if found or limits else 0)


def _limits(old: Policy, new: Policy) -> list[str]:
    values = (
        (field.name, getattr(old.limits, field.name), getattr(new.limits, field.name))
        for field in fields(old.limits)
    )
    return [f"{name} was {before}, becomes {after}" for name, before, after in values if before != after]


def show_device(daemon: DaemonClient, as_json: bool, name: str) -> None:
    """Prints everything that a device of the policy in force can open."""
    try:
        policy = policy_in_force(daemon)
        if name not in policy.devices:
            raise ConfigError("--device", "", f"{name!r}: accepted: {known_names('device', policy.devices)}")
    except ConfigError as error:
        exit_with_problem(error, as_json, UNKNOWN)
    rows = _decided(lambda: list(device_table(policy, name, datetime.now(UTC).timestamp())))
    if as_json:
        click.echo(json.dumps(list(map(asdict, rows))))
        return
    for row in rows:
        print_text(f"{row.outcome} by {shown(row.rule, 60)}: {shown(row.what, 1000)}", further="    ")
        print_text(f"    lease at most {row.lease}{f'; {row.limits}' if row.limits else ''}", further=" " * 8)
    if not rows:
        print_text(f"{shown(name, 60)} can open nothing")


def _decided(work: Callable[[], T]) -> T:
    """The result; ends the program where it takes too many steps."""
    try:
        return work()
    except UNDECIDED:
        print_text(f"{paint('unknown', BAD)}: the comparison takes too many steps", err=True)
        sys.exit(UNKNOWN)
