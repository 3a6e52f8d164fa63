"""The man pages of section 1: the program, and a page for each command.

A command in a group (``policy check``) is on the page of its group.
"""

from collections.abc import Callable, Mapping

from upnp_gw.cli import GROUPS
from upnp_gw.cli.manual import roff
from upnp_gw.cli.manual.commands import PROGRAM, CommandReference

EXIT_STATUS = (
    ("0", "Done."),
    ("1", "Refused, or not found."),
    ("2", "Wrong usage, or a mistake in the configuration."),
    ("3", "The gateway does not answer."),
)
ENVIRONMENT = (
    ("UPNP_GW_RUNTIME_DIR", "The directory of the control socket, as --runtime-dir of every command."),
    ("NO_COLOR", "No colours."),
)
FILES = (
    ("/etc/upnp-gw/config.toml", "The configuration of the service: upnp-gw.toml(5)."),
    ("/etc/upnp-gw/policy.toml", "The usual place of a policy: upnp-gw-policy(5). The configuration names it."),
    ("/var/lib/upnp-gw", "Mappings, decisions, and approved.toml: rules that commands wrote."),
    ("/run/upnp-gw", "The control socket."),
)
FILE_PAGES = ("upnp-gw.toml(5)", "upnp-gw-policy(5)")
Title = Callable[[str, int], str]
"""(name of a page, section) -> its first line."""


def page_name(command: str) -> str:
    """``add`` -> ``upnp-gw-add``."""
    return f"{PROGRAM}-{command}" if command else PROGRAM


def command_pages(program: CommandReference, title: Title) -> Mapping[str, str]:
    """File name (``upnp-gw-add.1``) -> roff."""
    pages = {f"{PROGRAM}.1": _program_page(program, title)}
    for command in program.commands:
        pages[f"{page_name(command.name)}.1"] = _command_page(command, title)
    return pages


def _program_page(program: CommandReference, title: Title) -> str:
    groups = "".join(
        roff.subsection(heading)
        + "".join(
            roff.item(f"{roff.bold(page_name(name))}(1)", [summary]) for name, (_, _, summary) in commands.items()
        )
        for heading, commands in GROUPS.items()
    )
    return roff.page(
        [
            title(PROGRAM, 1),
            _name(PROGRAM, "UPnP IGD, NAT-PMP and PCP gateway"),
            _synopsis(program),
            roff.section("DESCRIPTION"),
            *map(roff.paragraph, program.paragraphs),
            roff.section("COMMANDS"),
            groups,
            roff.section("OPTIONS"),
            *_options(program),
            roff.section("EXIT STATUS"),
            *(roff.item(roff.bold(code), [meaning]) for code, meaning in EXIT_STATUS),
            roff.section("ENVIRONMENT"),
            *(roff.item(roff.bold(name), [meaning]) for name, meaning in ENVIRONMENT),
            roff.section("FILES"),
            *(roff.item(roff.italic(path), [meaning]) for path, meaning in FILES),
            see_also(*FILE_PAGES, "nft(8)"),
        ]
    )


def _command_page(command: CommandReference, title: Title) -> str:
    name = page_name(command.name)
    below = [
        roff.subsection(f"{PROGRAM} {each.usage}")
        + "".join(map(roff.paragraph, each.paragraphs))
        + "".join(_options(each))
        for each in command.commands
    ]
    return roff.page(
        [
            title(name, 1),
            _name(name, command.summary),
            _synopsis(*(command.commands or [command])),
            roff.section("DESCRIPTION"),
            *map(roff.paragraph, command.paragraphs),
            *([roff.section("COMMANDS"), *below] if below else []),
            roff.section("OPTIONS"),
            *_options(command),
            see_also(f"{PROGRAM}(1)", *FILE_PAGES),
        ]
    )


def _name(page: str, summary: str) -> str:
    return roff.section("NAME") + rf"{roff.escaped(page)} \- {roff.prose(summary.rstrip('.'))}" + "\n"


def _synopsis(*commands: CommandReference) -> str:
    lines = [f".B {roff.escaped(PROGRAM)}\n{_usage(each)}\n" for each in commands]
    return roff.section("SYNOPSIS") + ".br\n".join(lines)


def _usage(command: CommandReference) -> str:
    """The usage of a command: its words bold, the rest italic."""
    words = command.usage.split()
    own = len(command.name.split())
    return roff.filled(
        " ".join(roff.bold(word) if at < own else roff.italic(word) for at, word in enumerate(words))
    )


def _options(command: CommandReference) -> list[str]:
    return [roff.item(roff.option(name), [text]) for name, text in command.options]


def see_also(*pages: str) -> str:
    """The section at the end. ``pages``: such as ``nft(8)``."""
    links = [rf"\fB{roff.escaped(page.partition('(')[0])}\fP({page.partition('(')[2]}" for page in pages]
    return roff.section("SEE ALSO") + ",\n".join(links) + "\n"
