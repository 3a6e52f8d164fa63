"""Every command as a reference: usage, description and options, as ``--help`` shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc

import click

from upnp_gw.cli import COMMANDS, main

PROGRAM = "upnp-gw"


@dataclass(frozen=True, slots=True)
class CommandReference:
    """A command, or a group of commands."""

    name: str
    """With its groups: ``policy check``. Empty for the program itself."""
    usage: str
    """Without the program: ``policy check [OPTIONS] FILE``."""
    summary: str
    """One sentence."""
    paragraphs: tuple[str, ...]
    """Its description. Lines that are not to be wrapped begin with ``\\b`` (click's convention)."""
    options: tuple[tuple[str, str], ...]
    """(option with its value, description)."""
    commands: tuple["CommandReference", ...] = ()

    @property
    def all(self) -> Iterator["CommandReference"]:
        """This command and those below it."""
        yield self
        for below in self.commands:
            yield from below.all


def program_reference() -> CommandReference:
    """The program with all its commands, in the order of ``upnp-gw --help``. Loads the module of every command."""
    return _reference(main, click.Context(main, info_name=PROGRAM, **main.context_settings), "")


def _reference(command: click.Command, context: click.Context, name: str) -> CommandReference:
    return CommandReference(
        name,
        " ".join([*name.split(), *command.collect_usage_pieces(context)]),
        COMMANDS[name][2] if name in COMMANDS else command.get_short_help_str(200),
        tuple(paragraph.strip("\n") for paragraph in cleandoc(command.help or "").split("\n\n") if paragraph),
        tuple(_options(command, context)),
        tuple(_below(command, context, name)) if isinstance(command, click.Group) else (),
    )


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Arguments are left out: the usage has them, and only new versions of click list them."""
    for param in command.get_params(context):
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record:
            yield record


def _below(group: click.Group, context: click.Context, name: str) -> Iterator[CommandReference]:
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        if command is not None and not command.hidden:
            inner = click.Context(command, info_name=each, parent=context)
            yield _reference(command, inner, f"{name} {each}".strip())
