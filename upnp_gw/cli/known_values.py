"""Values that the running gateway knows, for completion: devices, mappings, questions, decisions, rules.

A gateway that does not answer within a second, or may not be asked, has no values; a Tab shows no error. Only
values that a shell takes as they are are offered. Nothing that a client of the LAN chose is among them.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from upnp_gw.cli.client import DaemonClient
from upnp_gw.text.escape import shown

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ANSWER_S = 1.0
NEWEST = 30
"""Decisions offered: a log has a hundred thousand."""
PLAIN = re.compile(r"[\w.:@/-]+", re.A)
RUNTIME_DIR = Path("/run/upnp-gw")
Values = Iterable[tuple[str, str]]
"""(value, words about it)"""
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


class QuickClient(DaemonClient):
    """Asks the daemon, and waits for a second at most."""

    answer_s = ANSWER_S


def _completion(values: Callable[[DaemonClient], Values]) -> Complete:
    """A callback for ``shell_complete`` of an argument or an option."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        given = ctx.params.get(param.name or "")
        taken = given if isinstance(given, tuple) else ()
        try:
            found = list(values(QuickClient(ctx.params.get("runtime_dir") or RUNTIME_DIR)))
        except (click.ClickException, OSError, ValueError, LookupError, TypeError):
            return []
        return [
            CompletionItem(value, help=shown(words))
            for value, words in found
            if value.startswith(incomplete) and value not in taken and PLAIN.fullmatch(value)
        ]

    return complete


def _ask(daemon: DaemonClient, path: str, **query: object) -> Any:
    return json.loads(daemon.request("GET", path, query=query))


def _devices(daemon: DaemonClient) -> Values:
    for device in _ask(daemon, "/v1/devices"):
        yield device["name"] or device["device"], f"{device['holds']} mappings"


def _mappings(daemon: DaemonClient) -> Values:
    for mapping in _ask(daemon, "/v1/mappings"):
        who = mapping["device_name"] or mapping["device"]
        yield mapping["id"], f"{mapping['transport']} {mapping['external_port']}: {who}"


def _questions(daemon: DaemonClient) -> Values:
    for question in _ask(daemon, "/v1/queue"):
        yield str(question["number"]), f"{question['transport']} {question['internal_port']}"


def _decisions(daemon: DaemonClient) -> Values:
    for decision in _ask(daemon, "/v1/decisions", limit=NEWEST):
        yield decision["id"], f"{decision['verdict']}, {decision['device']}"


def _rules(daemon: DaemonClient) -> Values:
    import tomllib

    written = tomllib.loads(_ask(daemon, "/v1/policy")["approved"])
    for kind in ("grant", "forbid"):
        for rule in written.get(kind, []):
            yield rule["name"], kind


devices = _completion(_devices)
mappings = _completion(_mappings)
questions = _completion(_questions)
decisions = _completion(_decisions)
rules = _completion(_rules)
