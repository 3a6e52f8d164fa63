"""``policy prove``: proofs about a policy, and about the running kernel."""

import sys
from pathlib import Path

import click

from upnp_gw.cli.client import DaemonClient, daemon_command
from upnp_gw.cli.run import interface_options

QUESTION = {"proto": "proto", "int_ports": "int", "ext": "ext", "target": "for", "remote": "remote"} | {
    "family": "family",
    "at": "at",
}
"""Option -> key of ``request`` of a ``[[never]]``."""


@click.command()
@click.argument("words", nargs=-1, metavar="[FILE] [QUESTION]")
@click.option("--who", metavar="WHO", help="A device, @group, zone, address or MAC address.  [default: anyone]")
@click.option("--proto", type=click.Choice(["tcp", "udp"]), help="Transport.")
@click.option("--int", "int_ports", metavar="PORTS", help="Internal ports, such as 22,8000-8099.")
@click.option("--ext", metavar="PORTS", help="External ports.")
@click.option("--for", "target", metavar="PREFIX", help="Internal clients.")
@click.option("--remote", metavar="PREFIX", help="Remote hosts that could connect.")
@click.option("--family", type=click.Choice(["ip4", "ip6"]), help="Port mappings or pinholes.")
@click.option("--over", metavar="PROTOCOL", help="igd1, igd2, natpmp or pcp.")
@click.option("--at", metavar="HH:MM-HH:MM", help="Local time.")
@click.option("--kernel", is_flag=True, help="Check the rules of the running kernel instead.")
@interface_options
@click.option("--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Directory of the mappings.")
@daemon_command
def prove(
    daemon: DaemonClient,
    as_json: bool,
    words: tuple[str, ...],
    kernel: bool,
    who: str | None,
    over: str | None,
    config_file: Path | None,
    **given: object,
) -> None:
    """Prove that nobody can open a port, or show who can.

    Looks at all requests that there are, by the policy of FILE or by the one in force. An answer that needs your
    approval counts as a yes. Your own upnp-gw add is no part of it. QUESTION: "can guest open tcp 8443".

    With --kernel: reads every table and the flows of the running kernel, and follows all packets from the WAN. Each
    one that reaches a host of the LAN has to be a mapping's, and has to end with it. Names a packet that gets in
    without one. If the daemon runs, its ledger counts; else, as root, the configuration and the mappings on disk.

    Exit code 0: never, or proved; 1: a request or a packet gets through; 2: not known.
    """
    question = {key: value for option, key in QUESTION.items() if isinstance(value := given.pop(option), str)}
    if kernel:
        from upnp_gw.cli.prove_kernel import prove_kernel

        if words or who or over or question:
            raise click.UsageError("--kernel takes neither a file nor a question")
        sys.exit(prove_kernel(daemon, as_json, config_file, given))
    from upnp_gw.cli.prove_question import prove_question

    sys.exit(prove_question(daemon, as_json, words, who, over, question))
