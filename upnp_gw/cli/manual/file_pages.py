"""The man pages of section 5: the configuration and the policy file."""

from collections.abc import Mapping

from upnp_gw.cli.manual import roff
from upnp_gw.cli.manual.command_pages import Title, see_also
from upnp_gw.config.reference import KeyReference, TableReference, configuration_reference
from upnp_gw.gate.accepted import ACCEPTED
from upnp_gw.gate.meanings import MEANINGS, TABLES
from upnp_gw.system.shipped_files import shipped_text

CONFIGURATION = "upnp-gw.toml"
POLICY = "upnp-gw-policy"
ABOUT_CONFIGURATION = (
    "The configuration of `upnp-gw run` and `upnp-gw page` is TOML. `--config` names the file; the service uses"
    " /etc/upnp-gw/config.toml. Every key may be left out. Options of `upnp-gw run` override the file, the file"
    " overrides detection.",
    "An unknown key or a value that is not accepted ends the start with exit code 2. The message names file, line"
    " and key, and what would be accepted. A relative path starts at the directory of the file. No other user may"
    " write to it.",
    "The configuration is read at the start. `upnp-gw reload` reads the policy alone.",
)
ABOUT_POLICY = (
    "A policy decides each request for a port. It is one TOML file; [gate] policy in upnp-gw.toml(5) or `--policy`"
    " names it. Without one a built-in policy allows every device its own ports from 1024 up, within limits.",
    "The order of tables and rules never matters. A forbid that matches denies. Else one grant must match and have"
    " room. Else the default decides. The floor comes before all of them, and no file changes it: a device opens"
    " ports only to itself unless a grant has for, and every lease ends.",
    "`upnp-gw policy check FILE` checks a file and runs its tests. `upnp-gw reload` puts it into force; after any"
    " mistake the old policy stays. Rules that commands write (allow, block, name, approve) are in approved.toml in"
    " the state directory and are added to this file.",
    "Durations are a number and s, m, h, d or w. Ports are numbers, and ranges in quotes.",
)


def file_pages(title: Title) -> Mapping[str, str]:
    """File name -> roff. Raises OSError if an example file is missing."""
    return {f"{CONFIGURATION}.5": _configuration_page(title), f"{POLICY}.5": _policy_page(title)}


def _configuration_page(title: Title) -> str:
    return roff.page(
        [
            title(CONFIGURATION, 5),
            roff.section("NAME"),
            f"{roff.escaped(CONFIGURATION)} \\- configuration of upnp\\-gw\n",
            roff.section("DESCRIPTION"),
            *map(roff.paragraph, ABOUT_CONFIGURATION),
            *map(_table, configuration_reference()),
            roff.section("EXAMPLE"),
            roff.listing(shipped_text("config/home.toml")),
            see_also("upnp-gw(1)", "upnp-gw-run(1)", f"{POLICY}(5)"),
        ]
    )


def _table(table: TableReference) -> str:
    name = f"[[{table.name}]]" if table.several else f"[{table.name}]"
    about = roff.paragraph(table.meaning) if table.meaning else ""
    return roff.section(name) + about + "".join(map(_configuration_key, table.keys))


def _configuration_key(key: KeyReference) -> str:
    more = [f"Default: {key.default}." if key.default else "", f"Option: `{key.option}`." if key.option else ""]
    texts = [key.meaning, f"Accepted: {key.accepted}. {' '.join(filter(None, more))}"]
    return roff.item(f"{roff.bold(key.name)} = {roff.italic(key.example)}", texts)


def _policy_page(title: Title) -> str:
    return roff.page(
        [
            title(POLICY, 5),
            roff.section("NAME"),
            f"{roff.escaped(POLICY)} \\- policy file of upnp\\-gw\n",
            roff.section("DESCRIPTION"),
            *map(roff.paragraph, ABOUT_POLICY),
            *map(_policy_table, TABLES),
            roff.section("EXAMPLE"),
            roff.listing(shipped_text("policies/ask.toml")),
            see_also("upnp-gw(1)", "upnp-gw-policy(1)", "upnp-gw-try(1)", f"{CONFIGURATION}(5)"),
        ]
    )


def _policy_table(table: str) -> str:
    heading, about = TABLES[table]
    return (
        roff.section(heading) + roff.paragraph(about) + "".join(_policy_key(table, key) for key in MEANINGS[table])
    )


def _policy_key(table: str, key: str) -> str:
    accepted, example = ACCEPTED[table][key]
    default, meaning = MEANINGS[table][key]
    left_out = f"Default: {default}." if default else "It must be there."
    name = roff.italic("NAME") if key == "*" else roff.bold(key)
    head = name if table == "" and accepted.startswith("a table") else f"{name} = {roff.italic(example)}"
    return roff.item(head, [meaning, f"Accepted: {accepted}. {left_out}"])
