"""``import``: a configuration of miniupnpd becomes ours, and its leases go on here."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import click

from upnp_gw.cli.client import DaemonClient, daemon_command
from upnp_gw.cli.policy_sources import exit_with_problem
from upnp_gw.cli.run import CONFIG_ERROR
from upnp_gw.cli.setup import ETC, check_right, show_changes, write_changes
from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, HEADING, paint, print_text
from upnp_gw.config.file import parse_text
from upnp_gw.config.interface_detection import read_interfaces
from upnp_gw.gate.proof.differences import Kind
from upnp_gw.migration.bounded_text import LARGEST
from upnp_gw.migration.config_text import configuration
from upnp_gw.migration.conversion import Conversion, convert
from upnp_gw.migration.reading import read_original
from upnp_gw.migration.remarks import Fate
from upnp_gw.migration.settings import Carried, Chosen, carry_settings
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.network import Link
from upnp_gw.setup.files import Change, read_text
from upnp_gw.system.files import FileProblem, read_any
from upnp_gw.text.escape import shown

STYLES = {Fate.CARRIED: GOOD, Fate.DIFFERENT: CAUTION, Fate.NOT_CARRIED: BAD}
KINDS = {Kind.MORE: BAD, Kind.LESS: CAUTION}
_PATH = click.Path(path_type=Path)


@click.command("import")
@click.argument("file", type=_PATH, required=False)
@click.option("--wan", metavar="IF", default="", help="Interface to the internet, in place of that of FILE.")
@click.option("--lan", metavar="IF", multiple=True, help="Interface to serve; repeatable, the home LAN first.")
@click.option(
    "--network", type=_PATH, metavar="FILE", help="/etc/config/network of OpenWrt: the devices of its interfaces."
)
@click.option("--for-others", is_flag=True, help="Carry secure_mode=no: devices open ports for other hosts.")
@click.option(
    "--config-dir", type=_PATH, default=ETC, metavar="DIR", help=f"Directory of the files.  [default: {ETC}]"
)
@click.option("--leases", type=_PATH, metavar="FILE", help="Take over the leases of this lease file instead.")
@click.option("--policy", type=_PATH, metavar="FILE", help="With --leases: ask this policy, not the gateway.")
@click.option("--yes", is_flag=True, help="Ask nothing, and write.")
@click.option("--dry-run", is_flag=True, help="Show files or answers; change nothing.")
@daemon_command
def import_(
    daemon: DaemonClient,
    as_json: bool,
    file: Path | None,
    wan: str,
    lan: tuple[str, ...],
    network: Path | None,
    for_others: bool,
    config_dir: Path,
    leases: Path | None,
    policy: Path | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Take over the configuration of miniupnpd: FILE is its miniupnpd.conf, or /etc/config/upnpd of OpenWrt.

    Says for each line of FILE what becomes of it, and shows configuration and policy before they are written. A
    file that is there is copied first. The permission lines become a policy; it is proved that it answers every
    request as they do, or the requests are listed that it answers differently. With --json it writes only with
    --yes.

    With --leases, and no FILE, the running gateway takes over the leases that still run, each as a request of the
    device that has it. What the policy refuses is listed, with its rule. With --policy too, the answers are those
    of a policy file to each lease by itself: a look before the gateway runs.

    Exit code 0: done; 1: you said no, or not all leases go on; 2: FILE is not accepted, or an answer is missing,
    and nothing was written; 3: the gateway does not run.
    """
    try:
        if leases is not None:
            if file is not None or wan or lan or network is not None or for_others:
                raise click.UsageError("--leases is a step of its own, after FILE and the start of the gateway")
            from upnp_gw.cli.import_leases import take_over

            return take_over(daemon, as_json, leases, dry_run, policy)
        if policy is not None:
            raise click.UsageError("--policy goes with --leases")
        if file is None:
            raise click.UsageError(
                "name the file to take over: upnp-gw import FILE, or upnp-gw import --leases FILE"
            )
        chosen = Chosen(wan, lan, _links(), for_others)
        sys.exit(_import(file, network, chosen, config_dir.absolute(), _Manner(yes, dry_run, as_json)))
    except FileProblem as problem:
        exit_with_problem(ConfigError(str(problem.path), "", problem.problem), as_json, CONFIG_ERROR)
    except ConfigError as error:
        exit_with_problem(error, as_json, CONFIG_ERROR)


def _import(file: Path, network: Path | None, chosen: Chosen, directory: Path, manner: "_Manner") -> int:
    interfaces = None if network is None else read_any(network, LARGEST)
    original = read_original(read_any(file, LARGEST), str(file), interfaces, str(network))
    if manner.asks:
        check_right(directory)
        chosen = _answered(chosen, carry_settings(original, chosen))
    config_file = directory / "config.toml"
    before = read_text(config_file)
    named = parse_text(before or "", str(config_file)).get("policy", "policy.toml")
    policy_file = directory / named
    found = convert(original, chosen, policy_file, datetime.now().astimezone().date())
    config = configuration(before, str(config_file), found.carried, policy_file)
    changes = [Change(policy_file, read_text(policy_file), found.policy), Change(config_file, before, config)]
    return _finish(found, changes, directory, manner)


def _answered(chosen: Chosen, carried: Carried) -> Chosen:
    """Asks for the interfaces that the file does not name."""
    if carried.missing:
        print_text(f"The file does not name them. Interfaces of this machine: {_names(chosen.links)}")
    wan, lans = chosen.wan, chosen.lans
    if carried.missing_wan:
        wan = click.prompt("The interface to the internet (WAN)")
    if carried.missing_lans:
        wanted = " ".join(["LAN", *filter(None, carried.missing_lans)])
        question = f"The interfaces of your devices ({shown(wanted, 100)}), the home LAN first"
        lans = tuple(click.prompt(question).replace(",", " ").split())
    return replace(chosen, wan=wan, lans=lans)


def _names(links: Sequence[Link]) -> str:
    return ", ".join(link.name for link in links if link.name != "lo") or "not known"


class _Manner:
    """Text or JSON, and whether the files are written."""

    def __init__(self, yes: bool, dry_run: bool, as_json: bool) -> None:
        self.dry_run = dry_run or (as_json and not yes)
        self.as_json = as_json
        self.asks = not yes and not self.dry_run
        if self.asks and not sys.stdin.isatty():
            raise click.UsageError("this is no terminal: --yes writes the files, --dry-run shows them")


def _links() -> Sequence[Link]:
    """The interfaces of this machine; none if they cannot be read."""
    try:
        return read_interfaces()[0]
    except OSError:
        return ()


def _finish(found: Conversion, changes: Sequence[Change], directory: Path, manner: _Manner) -> int:
    missing = found.carried.missing
    if manner.as_json:
        click.echo(json.dumps(_as_json(found, changes, written=not manner.dry_run and not missing)))
    else:
        _show(found)
        show_changes(changes)
    if manner.dry_run:
        if not manner.as_json:
            print_text("\nNothing was written (--dry-run).")
        return 0
    if missing:
        raise click.UsageError(f"the file does not say it: {'; '.join(missing)}")
    check_right(directory)
    if manner.asks and not click.confirm("\nWrite this?", default=True):
        print_text("Nothing was written.")
        return 1
    write_changes(changes, quiet=manner.as_json)
    if not manner.as_json:
        print_text("\nStop miniupnpd for good before this gateway starts: systemctl disable --now miniupnpd")
        print_text(f"Then go on with the firewall, the page and the service: {_set_up(directory)}")
        if (leases := found.original.lease_file) is not None and leases.value:
            path = shown(leases.value, 300)
            print_text(
                f"Once this gateway runs, the leases of miniupnpd go on in it: upnp-gw import --leases {path}"
            )
    return 0


def _set_up(directory: Path) -> str:
    """The command that goes on: it asks what the file of miniupnpd does not say, and keeps the policy."""
    where = "" if directory == ETC else f" --config-dir {shown(str(directory), 300)}"
    return f"upnp-gw setup --policy keep{where}"


def _show(found: Conversion) -> None:
    settings, lines = len(found.original.settings), len(found.original.permissions)
    print_text(f"{shown(found.original.where, 300)}: {settings} settings, {lines} permission lines")
    for fate in Fate:
        those = [remark for remark in found.remarks if remark.fate is fate]
        if those:
            click.echo()
            print_text(paint(f"{fate.value[0].upper()}{fate.value[1:]}:", STYLES[fate]))
        for remark in those:
            print_text(f"  {remark.line.number}: {shown(remark.line.text, 200)}", further=" " * 8)
            print_text(f"        {shown(remark.why, 300)}", further=" " * 8)
    click.echo()
    if found.differences:
        print_text(paint("The policy answers these port mappings differently, and all others alike:", HEADING))
    else:
        print_text(f"{paint('Equal:', GOOD)} the policy answers {_as_the_lines(lines)}. This is proved.")
    for one in found.differences:
        print_text(f"  {paint(one.kind.value, KINDS[one.kind])}: {shown(one.text, 600)}", further=" " * 8)
        print_text(f"        {shown(one.why, 300)}", further=" " * 8)
    click.echo()
    print_text(paint("Different whatever the file says:", HEADING))
    for text in found.always:
        print_text(f"  {text}", further="    ")
    for warning in found.warnings:
        print_text(f"{paint('warning:', CAUTION)} {shown(str(warning), 600)}")
    for text in found.carried.missing:
        print_text(f"{paint('missing:', BAD)} {shown(text, 300)}")


def _as_the_lines(count: int) -> str:
    if not count:
        return "as miniupnpd without a permission line does, on every request for a port mapping"
    return f"as the {count} permission line{'s do' if count > 1 else ' does'}, on every request for a port mapping"


def _as_json(found: Conversion, changes: Sequence[Change], written: bool) -> dict[str, object]:
    return {
        "file": found.original.where,
        "format": found.original.format.value,
        "lines": [
            {"line": each.line.number, "text": each.line.text, "fate": each.fate.value, "why": each.why}
            for each in found.remarks
        ],
        "missing": found.carried.missing,
        "equal": not found.differences,
        "differences": list(map(asdict, found.differences)),
        "always": found.always,
        "warnings": [str(warning) for warning in found.warnings],
        "files": [{"path": str(change.path), "text": change.after} for change in changes],
        "written": written,
    }
