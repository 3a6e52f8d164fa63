"""A wrong argument of any command is reported in plain words: its name, the given value, the accepted values."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import ServedOperator
from tests.fixtures.plain_words import raw_words
from upnp_gw.api.values import MAX_LEASE_S
from upnp_gw.cli import main
from upnp_gw.cli.parameters import LONGEST_S, Number, Seconds

WRONG = ("", "x y", "soon", "-1", "1.5", "99999999999999999999", "٣")
REMEDY = re.compile("accepted: |write |is not one of |is neither a ")
"""A message with the text to write instead."""
NAMED = (Number, Seconds, click.Choice)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


COMMANDS = list(commands(main))
READ = [
    (command, param)
    for _, command in COMMANDS
    for param in command.params
    if isinstance(param.type, NAMED) or (param.callback is not None and param.name != "help")
]


def test_there_are_arguments_to_try() -> None:
    assert len(READ) > 25
    kinds = {type(param.type) for _, command in COMMANDS for param in command.params}
    assert not kinds & {type(click.INT), type(click.FLOAT), click.IntRange, click.FloatRange}, (
        "they speak of ranges"
    )


@pytest.mark.parametrize(("command", "param"), READ)
def test_every_argument_with_every_wrong_value(command: click.Command, param: click.Parameter) -> None:
    refused = 0
    for value in WRONG:
        with click.Context(command) as context:
            try:
                param.process_value(context, value if param.nargs == 1 else (value,))
            except click.BadParameter as error:
                refused += 1
                message = error.format_message()
                assert raw_words(message) == [], message
                assert message.isprintable()
                assert REMEDY.search(message), message
    assert refused >= 3


@pytest.mark.parametrize("command", [path for path, _ in COMMANDS], ids=" ".join)
def test_no_help_has_words_of_a_schema(upnp_gw: Run, command: tuple[str, ...]) -> None:
    output = upnp_gw(*command, "--help").output
    assert "INTEGER" not in output
    assert "FLOAT" not in output
    assert "<=x<=" not in output


def test_try_names_its_own_options_and_takes_no_end_for_the_longest(upnp_gw: Run, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\n[[grant]]\nname = "home"\nwho = "*"\n')
    answer = upnp_gw("try", "tcp", "8080", "--from", "x", "--policy", str(policy))
    assert (answer.exit_code, answer.stderr.splitlines()[-1]) == (
        2,
        'Error: --from: got "x"; accepted: an IPv4 or IPv6 address such as 192.168.1.23',
    )
    assert (
        upnp_gw("try", "tcp", "8080", "--from", "192.168.1.3", "--ttl", "0", "--policy", str(policy)).exit_code == 0
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["allow", "ps5", "tcp", "9000"], 'got "tcp"; accepted: a port 1 to 65535 or a range, such as 3074 or'),
        (["allow", "ps5", "UDP/9000"], ". For one transport add --proto udp"),
        (["allow", "ps5", "80-70"], 'got "80-70"; accepted: '),
        (["allow", "ps5", "0"], 'got "0"; accepted: '),
        (["allow", "ps5", "70000"], 'got "70000"; accepted: '),
        (["allow", "ps5", "80", "--for", "1s"], 'got "1s"; accepted: 1m to 366d, such as 4h'),
        (["approve", "1", "--for", "367d"], 'got "367d"; accepted: 1m to 366d, such as 4h'),
        (["add", "tcp", "80", "192.168.1.2", "--ttl", "999d"], 'got "999d"; accepted: 1s to 366d, such as 4h'),
        (["request", "tcp", "80", "--ttl", "0"], 'got "0"; accepted: 1s to 366d, such as 4h'),
        (["try", "tcp", "80", "--device", "x", "--ttl", "999d"], 'got "999d"; accepted: 0s to 366d, such as 4h'),
    ],
)
def test_a_value_out_of_range_is_named_as_it_was_typed(
    daemon: ServedOperator, upnp_gw: Run, command: list[str], reason: str
) -> None:
    answer = upnp_gw(*command)
    assert answer.exit_code == 2
    assert reason in " ".join(answer.stderr.split())
    assert daemon.operator.asked == []


def test_the_limit_of_durations_is_that_of_the_api() -> None:
    assert LONGEST_S == MAX_LEASE_S


def test_a_wrong_port_is_reported_with_an_example(daemon: ServedOperator, upnp_gw: Run) -> None:
    answer = upnp_gw("add", "tcp", "http", "192.168.1.23")
    assert answer.exit_code == 2
    assert answer.stderr.splitlines()[-1] == (
        "Error: Invalid value for 'PORT': got \"http\"; accepted: a port 1 to 65535, such as 8080"
    )
