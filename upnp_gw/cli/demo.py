"""``demo``: shows it all in a lab of namespaces. The steps are in ``upnp_gw.lab.demo``."""

import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each step, then a summary.")
def demo(as_json: bool) -> None:
    """Build a home in network namespaces, serve it, and prove each claim by a packet.

    Needs root or a user namespace; nothing outside the namespaces is touched. Ends with 0 only where every step
    was proved, 1 where one failed, 4 where no namespace could be made and only decisions were shown.
    """
    from upnp_gw.cli.demo_report import JsonReport, TextReport
    from upnp_gw.lab.demo.play import play

    sys.exit(play(JsonReport() if as_json else TextReport()))
