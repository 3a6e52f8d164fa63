"""``demo``: the gateway in network namespaces. The steps are in ``upnp_gw.lab.demo``."""

import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each step, then a summary.")
def demo(as_json: bool) -> None:
    """Run the gateway in a home of network namespaces, and prove each step by a packet.

    Needs root or user namespaces. Changes nothing outside the namespaces. Exit code 0: every step was proved; 1: a
    step failed; 4: no namespace could be made, and only decisions were shown.
    """
    from upnp_gw.cli.demo_report import JsonReport, TextReport
    from upnp_gw.lab.demo.play import play

    sys.exit(play(JsonReport() if as_json else TextReport()))
