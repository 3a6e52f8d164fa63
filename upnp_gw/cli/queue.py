"""``queue``, ``approve``, ``deny``: what devices asked for and nobody has answered yet. Silence means no."""

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, print_json, talks
from upnp_gw.cli.devices import lasting, print_written, told
from upnp_gw.cli.holder import held_by
from upnp_gw.cli.mappings import external
from upnp_gw.cli.parameters import ENDLESS, Number
from upnp_gw.cli.terminal import HEADING, beginning, columns_of_terminal, say, wrapped
from upnp_gw.text.escape import shown

NUMBER = click.argument("number", type=Number("the number of a question", 1, ENDLESS, 3), metavar="N")


@click.command()
@talks
def queue(gateway: DaemonClient, as_json: bool) -> None:
    """What waits for an answer, and the TOML that `upnp-gw approve N` would write."""
    body = gateway.ask("GET", "/v1/queue")
    if as_json:
        print_json(body)
        return
    questions = msgspec.json.decode(body, type=list[api.Question])
    most = columns_of_terminal()
    drawn = ["\n".join(described(question, most)) for question in questions]
    click.echo("\n\n".join(drawn) if questions else "no questions")


def described(question: api.Question, most: int) -> list[str]:
    """The lines of one question: the device, its request, the count, and the rule that an approval would write."""
    who = shown(question.device_name or question.device)
    target = formats.endpoint(shown(question.internal_client), question.internal_port)
    says = f' "{shown(question.description)}"' if question.description else ""
    times = "once" if question.times == 1 else f"{question.times} times"
    asked = f"{question.transport} {_outside(question)} -> {target}{says}"
    last = f"last {formats.local(question.last_asked)}, decision {shown(question.decision)}"
    rule = f", rule {shown(question.rule)}" if question.rule else ""
    earlier = ", ".join(map(str, question.earlier))
    text = [
        f"{question.number}: {who} at {shown(question.address)} asks for {asked}",
        f"   from {_remotes(question)}, for up to {formats.duration(question.lease_s)} a lease",
        *([f"   it has changed: it was question {earlier}"] if earlier else []),
        f"   {times} over {question.via}, {last}{rule}",
    ]
    lines = [part for line in text for part in wrapped(line, most, "      ")]
    toml = [f"   | {line}" if line else "   |" for line in told(question.toml).split("\n")]
    return [*beginning(lines, HEADING), *toml]


def _outside(question: api.Question) -> str:
    """The external ports as text, or ``pinhole``."""
    if question.family == "ip6":
        return "pinhole"
    return ",".join(shown(str(port)) for port in question.external_ports)


def _remotes(question: api.Question) -> str:
    """The remote hosts as text, or ``anyone``."""
    told = [f"{one.host} port {one.port}" if one.port else one.host for one in question.remote_hosts]
    return shown(", ".join(told), 400) or "anyone"


@click.command()
@NUMBER
@click.option(
    "--for", "for_s", callback=lasting, metavar="TIME", help="How long. Default: 30d, or as the rule says."
)
@talks
def approve(gateway: DaemonClient, as_json: bool, number: int, for_s: int | None) -> None:
    """Approve question N for a time and open its ports at once.

    The number names the request as the queue shows it. If the device asks for more, the question gets a new number.
    """
    body = gateway.ask("POST", f"/v1/queue/{number}/approve", body={"for_s": for_s})
    print_written(body, as_json)
    if as_json:
        return
    approved = msgspec.json.decode(body, type=api.Approved)
    if approved.opened is not None:
        target = formats.endpoint(approved.opened.internal_client, approved.opened.internal_port)
        say(shown(f"{approved.opened.id}: {external(approved.opened)} -> {target} is open", 200))
    else:
        say(shown(f"not open yet: {approved.why_not}", 200) + _in_the_way(approved.holder))


def _in_the_way(holder: api.Holder | None) -> str:
    return f". In the way: {held_by(holder)}" if holder is not None else ""


@click.command()
@NUMBER
@click.option("--remember", is_flag=True, help="Write a forbid, so that nobody is asked again.")
@click.option(
    "--for", "for_s", callback=lasting, metavar="TIME", help="How long it is remembered. Default: for good."
)
@talks
def deny(gateway: DaemonClient, as_json: bool, number: int, remember: bool, for_s: int | None) -> None:
    """Say no to question N. Without --remember the next request asks again."""
    if for_s is not None and not remember:
        raise click.UsageError("--for goes with --remember")
    body = gateway.ask("POST", f"/v1/queue/{number}/deny", body={"remember": remember, "for_s": for_s})
    print_written(body, as_json)
    if not as_json and not remember:
        say("denied; the next request asks again")
