"""``queue``, ``approve``, ``deny``: requests that wait for an answer. Until then they are refused."""

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats, known_values
from upnp_gw.cli.client import DaemonClient, daemon_command, print_json
from upnp_gw.cli.devices import format_toml, print_written
from upnp_gw.cli.holder import format_holder
from upnp_gw.cli.mapping_table import format_external
from upnp_gw.cli.parameters import UNBOUNDED, Number, rule_time_option
from upnp_gw.cli.terminal import HEADING, paint_first, print_text, table_columns, wrap
from upnp_gw.text.escape import shown

OPTION_OF = {"for_s": "--for"}
"""Field of the API -> option."""
NUMBER = click.argument(
    "number",
    type=Number("the number of a question", 1, UNBOUNDED, 3),
    metavar="N",
    shell_complete=known_values.questions,
)


@click.command()
@daemon_command
def queue(daemon: DaemonClient, as_json: bool) -> None:
    """List requests that wait for an answer, each with the rule that `upnp-gw approve N` would write."""
    body = daemon.request("GET", "/v1/queue")
    if as_json:
        print_json(body)
        return
    questions = msgspec.json.decode(body, type=list[api.Question])
    most = table_columns()
    drawn = ["\n".join(format_question(question, most)) for question in questions]
    click.echo("\n\n".join(drawn) if questions else "no questions")


def format_question(question: api.Question, most: int) -> list[str]:
    """The lines of one question: the device, its request, the count, and the rule that an approval would write."""
    device = shown(question.device_name or question.device)
    target = formats.endpoint(shown(question.internal_client), question.internal_port)
    description = f' "{shown(question.description)}"' if question.description else ""
    times = "once" if question.times == 1 else f"{question.times} times"
    request = f"{question.transport} {_format_ports(question)} -> {target}{description}"
    last = f"last {formats.time(question.last_asked)}, decision {shown(question.decision)}"
    rule = f", rule {shown(question.rule)}" if question.rule else ""
    earlier = ", ".join(map(str, question.earlier))
    text = [
        f"{question.number}: {device} at {shown(question.address)} asks for {request}",
        f"   from {_format_remote_hosts(question)}, lease up to {formats.duration(question.lease_s)}",
        *([f"   the request has changed: it was question {earlier}"] if earlier else []),
        f"   {times} over {question.via}, {last}{rule}",
        f"   upnp-gw approve {question.number} writes:",
    ]
    lines = [part for line in text for part in wrap(line, most, "      ")]
    toml = [f"   | {line}" if line else "   |" for line in format_toml(question.toml).split("\n")]
    return [*paint_first(lines, HEADING), *toml]


def _format_ports(question: api.Question) -> str:
    """The external ports as text, or ``pinhole``."""
    if question.family == "ip6":
        return "pinhole"
    return ",".join(shown(str(port)) for port in question.external_ports)


def _format_remote_hosts(question: api.Question) -> str:
    """The remote hosts as text, or ``anyone``."""
    hosts = [f"{one.host} port {one.port}" if one.port else one.host for one in question.remote_hosts]
    return shown(", ".join(hosts), 400) or "anyone"


@click.command()
@NUMBER
@click.option(
    "--for",
    "for_s",
    callback=rule_time_option,
    metavar="TIME",
    help="How long. Default: 30d, or approve_for of the rule.",
)
@daemon_command
def approve(daemon: DaemonClient, as_json: bool, number: int, for_s: int | None) -> None:
    """Approve question N for a time and open its ports at once.

    N stands for the request as the queue shows it. If the device asks for more, the question gets a new number.
    """
    body = daemon.request("POST", f"/v1/queue/{number}/approve", body={"for_s": for_s}, options=OPTION_OF)
    print_written(body, as_json)
    if as_json:
        return
    approved = msgspec.json.decode(body, type=api.Approved)
    if approved.opened is not None:
        target = formats.endpoint(approved.opened.internal_client, approved.opened.internal_port)
        print_text(shown(f"{approved.opened.id}: {format_external(approved.opened)} -> {target} is open", 200))
    else:
        print_text(shown(f"not open yet: {approved.why_not}", 200) + _format_obstacle(approved.holder))


def _format_obstacle(holder: api.Holder | None) -> str:
    return f". In the way: {format_holder(holder)}" if holder is not None else ""


@click.command()
@NUMBER
@click.option("--remember", is_flag=True, help="Write a forbid, so that you are not asked again.")
@click.option(
    "--for",
    "for_s",
    callback=rule_time_option,
    metavar="TIME",
    help="With --remember: how long. Default: for good.",
)
@daemon_command
def deny(daemon: DaemonClient, as_json: bool, number: int, remember: bool, for_s: int | None) -> None:
    """Deny question N. Without --remember the next request asks again."""
    if for_s is not None and not remember:
        raise click.UsageError("--for needs --remember")
    answer = {"remember": remember, "for_s": for_s}
    body = daemon.request("POST", f"/v1/queue/{number}/deny", body=answer, options=OPTION_OF)
    print_written(body, as_json)
    if not as_json and not remember:
        print_text("denied; the next request asks again")
