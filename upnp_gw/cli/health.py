"""``status`` and ``doctor``: the state of the gateway, and problems of the machine."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import REFUSED, DaemonClient, daemon_command, print_json
from upnp_gw.cli.parameters import HTTP_PORT
from upnp_gw.cli.run import configure, interface_options
from upnp_gw.cli.terminal import (
    BAD,
    CAUTION,
    GOOD,
    HEADING,
    LONGEST_TEXT,
    paint_first,
    table_columns,
    wrap,
    wrap_labelled,
)
from upnp_gw.model.errors import ConfigError, FirewallError
from upnp_gw.text.escape import shown, width

LABEL = 9
MARK = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}
MARK_STYLE = {"ok": GOOD, "warn": CAUTION, "fail": BAD}
COMMAND = re.compile(
    r"(?:.*: )?(?=(?:sudo |nft |sysctl |ip |ip6?tables |firewall-cmd |ufw |apt |upnp-gw |\[\w+\] ))"
)
"""Matches the text before a command or a line of a file that the administrator pastes."""


@click.command()
@daemon_command
def status(daemon: DaemonClient, as_json: bool) -> None:
    """Show interfaces, addresses, mappings, policy and warnings on one page."""
    body = daemon.request("GET", "/v1/status")
    if as_json:
        print_json(body)
    else:
        facts = status_facts(msgspec.json.decode(body, type=api.Status))
        most = table_columns()
        click.echo("\n".join(line for fact in facts for line in _format_fact(*fact, most)))


def status_facts(status: api.Status) -> list[tuple[str, str]]:
    """Label and text of each fact."""
    wan, count = status.wan, status.mappings
    unreached = wan.address_kind in ("private", "shared") and any(lan.nat for lan in status.lan)
    kind = f" ({wan.address_kind}: the internet does not reach it)" if unreached else ""
    held = f"{count.active} active, {count.parked} parked, {count.disabled} off; at most {count.limit}"
    facts = [
        ("upnp-gw", f"{status.version}, pid {status.pid}, up {formats.duration(status.uptime_s)}"),
        (
            "firewall",
            f"{status.firewall}, {status.backend}{f' by {status.library}' * bool(status.library)}"
            + (f", reinstalled {formats.plural(status.healed, 'time')}" * bool(status.healed)),
        ),
        (
            "wan",
            f"{wan.interface} {_up(wan.up)}, {', '.join(wan.external_addresses) or 'no external address'}"
            + (f", advertised to clients: {wan.advertised}" if wan.advertised else "")
            + kind,
        ),
        *(
            (
                "lan",
                f"{lan.interface} {_up(lan.up)}, {', '.join(lan.addresses) or 'no address'}"
                + ("" if lan.nat else ", no NAT"),
            )
            for lan in status.lan
        ),
        *([("above", status.above.sentence)] if status.above is not None else []),
        *(("announces", location) for location in status.locations),
        ("mappings", held),
        *([("queue", api.questions_wait(status.questions))] if status.questions else []),
        (
            "policy",
            f"{status.policy.source}: {formats.plural(status.policy.grants, 'grant')}, else {status.policy.default}"
            + (", observing only" if status.policy.mode == "observe" else ""),
        ),
        *(("detected", sentence) for sentence in status.detected),
        *(("WARNING", sentence) for sentence in status.warnings),
    ]
    return [(label, shown(text, LONGEST_TEXT)) for label, text in facts]


def _up(up: bool) -> str:
    return "up" if up else "DOWN"


def _format_fact(label: str, text: str, most: int) -> list[str]:
    return paint_first(
        wrap_labelled(label, text, most, LABEL, whole=True), CAUTION if label == "WARNING" else HEADING
    )


@click.command()
@interface_options
@click.option(
    "--firewall", metavar="router|alongside", help="router: the whole firewall; alongside: one table in yours."
)
@click.option("--backend", metavar="nftables|memory", help="memory: opens nothing.")
@click.option("--http-port", type=HTTP_PORT, metavar="N", help="TCP port of the UPnP server on each LAN address.")
@click.option("--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Directory of the mappings.")
@daemon_command
def doctor(daemon: DaemonClient, as_json: bool, **given: Any) -> None:
    """Check this machine for problems, and say how to fix each. Exit code 1: a check failed.

    If the daemon runs, it checks its own configuration, and --runtime-dir finds it. Else the options and the
    configuration file count; as root more can be checked.
    """
    if daemon.running():
        checks = [
            *_ignored_options(given),
            *msgspec.json.decode(daemon.request("GET", "/v1/doctor"), type=list[api.Check]),
        ]
    else:
        checks = _check_here(daemon, **given)
    if as_json:
        print_json(api.encode(checks))
    else:
        click.echo("\n".join(line for check in checks for line in format_check(check, table_columns())))
    if any(check.outcome == "fail" for check in checks):
        sys.exit(REFUSED)


def _ignored_options(given: Mapping[str, object]) -> Iterator[api.Check]:
    """A note that the options are ignored, because a daemon runs."""
    named = [f"--{name.removesuffix('_file').replace('_', '-')}" for name, value in given.items() if value]
    if named:
        finding = f"upnp-gw runs, and its own configuration is checked; ignored: {', '.join(named)}"
        yield api.Check(name="daemon", outcome="ok", finding=finding)


def _check_here(daemon: DaemonClient, config_file: Path | None, **given: object) -> list[api.Check]:
    import asyncio

    from upnp_gw.doctor import examine
    from upnp_gw.firewall.libnftables import check_library

    options = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    try:
        config, chosen, _ = configure(config_file, options)
    except ConfigError as error:
        remedy = "name the interfaces: upnp-gw doctor --lan IF --wan IF"
        return [api.Check(name="configuration", outcome="fail", finding=shown(str(error), 1000), remedy=remedy)]
    stopped = f"upnp-gw is not running: nothing answers at {daemon.path}. These are the checks before a start"
    first = [api.Check(name="daemon", outcome="warn", finding=stopped, remedy="upnp-gw run")]
    first += [api.Check(name="detected", outcome="ok", finding=shown(sentence, 400)) for sentence in chosen]
    try:
        check_library()
    except FirewallError as error:
        remedy = "as root: apt install --only-upgrade libnftables1 nftables"
        return [*first, api.Check(name="nftables", outcome="fail", finding=str(error), remedy=remedy)]
    return first + asyncio.run(examine(config))


def format_check(check: api.Check, most: int) -> list[str]:
    """``ok   forwarding: IPv4 is forwarded``, and the remedy below it, its command on one line."""
    text = shown(f"{check.name}: {check.finding}", 1000)
    lines = wrap_labelled(MARK[check.outcome], text, most, LABEL, whole=True)
    lines = paint_first(lines, MARK_STYLE[check.outcome])
    if check.remedy:
        lines += _format_remedy(shown(check.remedy, 1000), most)
    return lines + ([" " * (LABEL + 1) + f"see {shown(check.guide)}"] if check.guide else [])


def _format_remedy(text: str, most: int) -> list[str]:
    begins, further = " " * LABEL + " -> ", " " * (LABEL + 4)
    pasted = COMMAND.match(text)
    if pasted is None:
        return wrap(text, most, further, begins, whole=True)
    if not pasted[0] or len(begins) + width(text) <= most:
        return [begins + text]
    return [*wrap(pasted[0].strip(), most, further, begins, whole=True), further + text[pasted.end() :]]
