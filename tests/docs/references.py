"""The reference pages, made from the program: ``python -m tests.docs.references`` writes docs/reference/.

commands.md has the commands, configuration.md the keys of the configuration, policy-keys.md those of a policy,
api.md the routes and types of the control API.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests import ROOT
from tests.docs import api_reference
from upnp_gw.cli import GROUPS
from upnp_gw.cli.manual.command_pages import ENVIRONMENT, EXIT_STATUS, FILES
from upnp_gw.cli.manual.commands import PROGRAM, CommandReference, program_reference
from upnp_gw.config.reference import KeyReference, TableReference, configuration_reference
from upnp_gw.gate.accepted import ACCEPTED
from upnp_gw.gate.meanings import MEANINGS, TABLES

DIRECTORY = ROOT / "docs" / "reference"
MADE = "This page is made by `python -m tests.docs.references`."

COMMANDS = f"""# Commands

Every command with its options, as `--help` shows them. {MADE}
[Output of the commands](../command-line.md) is about colour, width and completion.
"""
CONFIGURATION = f"""# Configuration

`upnp-gw run` and `upnp-gw page` read one TOML file; the service reads `/etc/upnp-gw/config.toml`. Every key may be
left out. Options of `upnp-gw run` override the file, and the file overrides detection. An unknown key or a value
that is not accepted ends the start; the message names file, line, key and what is accepted.
[every-key.toml](../../examples/config/every-key.toml) is a file with every key. {MADE}
"""
POLICY = f"""# Keys of a policy

[Semantics](../policy-semantics.md) says how rules decide together; [recipes](../policy-guide.md) has policies.
`upnp-gw policy check FILE` names the line of a mistake and what is accepted. {MADE}

Durations are a number and s, m, h, d or w. Ports are numbers, and ranges in quotes.
"""


def commands_page() -> str:
    program = program_reference()
    by_name = {command.name: command for command in program.commands}
    parts = [COMMANDS]
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}\n")
        parts += ["".join(_command(by_name[name], "###")).rstrip("\n") + "\n" for name in names]
    parts.append("## Options of every command\n\n" + _options(program))
    parts.append("## Exit codes\n\n" + table(("code", "meaning"), [*map(_code, EXIT_STATUS)]))
    parts.append(
        "## Environment and files\n\n" + table(("name", "meaning"), [*map(_code, ENVIRONMENT), *map(_code, FILES)])
    )
    return "\n".join(parts)


def _code(row: tuple[str, str]) -> tuple[str, str]:
    return f"`{row[0]}`", row[1]


def _command(command: CommandReference, level: str) -> Iterator[str]:
    yield f"{level} {PROGRAM} {command.name}\n\n"
    if not command.commands:
        yield f"```text\n{PROGRAM} {command.usage}\n```\n\n"
    for paragraph in command.paragraphs or (command.summary,):
        yield f"{prose(paragraph)}\n\n"
    if command.options:
        yield _options(command) + "\n"
    for below in command.commands:
        yield from _command(below, level + "#")


def _options(command: CommandReference) -> str:
    rows = [(f"`{name}`", text) for name, text in command.options if "--help" not in name]
    return table(("option", "meaning"), rows) if rows else ""


def configuration_page() -> str:
    return "\n".join([CONFIGURATION, *map(_configuration_table, configuration_reference())])


def _configuration_table(reference: TableReference) -> str:
    name = f"[[{reference.name}]]" if reference.several and reference.name == "notify" else f"[{reference.name}]"
    sentences = [prose(reference.meaning), "Several `[[lan]]` are accepted." if reference.name == "lan" else ""]
    about = " ".join(filter(None, sentences))
    about = f"{about}\n\n" if about else ""
    return f"## {name}\n\n{about}" + table(
        ("key", "accepted", "default", "meaning"), [_configuration_row(key) for key in reference.keys]
    )


def _configuration_row(key: KeyReference) -> tuple[str, ...]:
    option = f" Option: `{key.option}`." if key.option else ""
    default = f"`{key.default}`" if key.default else ""
    accepted = quoted(key.accepted) if key.example == key.default else with_example(key.accepted, key.example)
    return f"`{key.name}`", accepted, default, f"{key.meaning}{option}".strip()


def with_example(accepted: str, example: str) -> str:
    """The accepted values in words, and an example where the words do not have it."""
    return quoted(accepted) if example in accepted else f"{quoted(accepted)}, such as `{example}`"


def quoted(accepted: str) -> str:
    """The words, with the values in them as code."""
    return re.sub(r'"[^"]*"', r"`\g<0>`", accepted)


def policy_page() -> str:
    parts = [POLICY]
    for name, (heading, about) in TABLES.items():
        rows = [(f"`{key}`" if key != "*" else "any name", *_policy_cells(name, key)) for key in MEANINGS[name]]
        parts.append(f"## {heading}\n\n{about}\n\n" + table(("key", "accepted", "left out", "meaning"), rows))
    return "\n".join(parts)


def _policy_cells(name: str, key: str) -> tuple[str, str, str]:
    accepted, example = ACCEPTED[name][key]
    left_out, meaning = MEANINGS[name][key]
    return with_example(accepted, example), left_out or "it must be there", meaning


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *(tuple(map(_cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def _cell(text: str) -> str:
    return prose(" ".join(text.split())).replace("|", "\\|")


def prose(text: str) -> str:
    """A paragraph of the command line in Markdown: ``\\b`` begins lines that stay as they are."""
    first, _, rest = text.partition("\n")
    if first.strip() == "\b":
        return f"```text\n{rest}\n```"
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if at % 2 else re.sub(r"([<*])", r"\\\1", part) for at, part in enumerate(parts))


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "policy-keys.md": policy_page,
    "api.md": api_reference.page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DIRECTORY / name).write_text(page(), "utf-8")
