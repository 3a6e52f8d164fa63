"""``lab``: any program behind the gateway, in network namespaces. The work is in ``upnp_gw.lab.program``."""

import sys
from pathlib import Path
from typing import TextIO

import click

from upnp_gw.cli.terminal import print_text, text_columns, wrap

UNAVAILABLE = 2
NOT_STARTED = 3


class Fault(click.ParamType[str]):
    """A fault as ``testing.fault_option`` reads it."""

    name = "fault"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from upnp_gw.testing.fault_option import fault_rules

        fault = str(value)
        try:
            fault_rules([fault])
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return fault


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--policy", type=click.Path(path_type=Path), metavar="FILE", help="Policy file of the gateway.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=Fault(),
    metavar="ACTION=ANSWER",
    help="Answer an action otherwise than the gateway, such as AddPortMapping=718,times=1; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON; output of COMMAND goes to stderr.")
@click.option("--junit", type=click.File("w"), metavar="FILE", help="Also write the report as JUnit XML.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def lab(
    command: tuple[str, ...], policy: Path | None, faults: tuple[str, ...], as_json: bool, junit: TextIO | None
) -> None:
    """Run COMMAND on a LAN host whose gateway is upnp-gw, and report what it asked and which ports it opened.

    The host, the gateway and an internet are network namespaces with real nftables. A host on the internet probes
    each mapping as soon as it is open. Needs root or user namespaces. Example:

    \b
      upnp-gw lab -- upnpc -e test -r 8080 tcp

    The report goes to stderr, with --json to stdout. The exit code is that of COMMAND; 127: there is no such
    program; 2: no namespace could be made; 3: the gateway did not start.
    """
    from upnp_gw.cli.lab_report import as_text, junit_xml, report_json
    from upnp_gw.lab.daemon import DaemonFailed
    from upnp_gw.lab.privilege import LabUnavailable, acquire, permission_line
    from upnp_gw.lab.program.run import NOT_FOUND, NoSuchProgram, run_program

    try:
        acquire()
    except LabUnavailable as problem:
        print_text(f"upnp-gw lab: {problem} To allow it:", err=True)
        click.echo(f"  {permission_line()}", err=True)
        sys.exit(UNAVAILABLE)
    try:
        report = run_program(command, policy, faults, output_to_stderr=as_json)
    except NoSuchProgram as problem:
        print_text(f"upnp-gw lab: {problem}", err=True)
        sys.exit(NOT_FOUND)
    except DaemonFailed as problem:
        click.echo(f"upnp-gw lab: {problem}", err=True)
        sys.exit(NOT_STARTED)
    if junit is not None:
        junit.write(junit_xml(report))
    if as_json:
        click.echo(report_json(report))
    else:
        for line in as_text(report):
            text = line.lstrip(" ")
            indent = line[: len(line) - len(text)]
            click.echo("\n".join(wrap(text, text_columns(err=True), indent + "    ", indent)), err=True)
    sys.exit(report.exit_code)
