"""The command line. A command's module is imported only when the command is called: ``upnp-gw list`` starts fast.

    run                                         the daemon
    setup                                       questions, files, service    (setup; setup_dialogue,
                                                                             setup_questions,
                                                                             setup_after)
    import                                      a router with miniupnpd      (importing; import_leases)
    list show add delete                        port mappings and pinholes   (mappings; watch,
                                                                             mapping_table)
    log                                         requests and their answers   (decisions)
    devices name allow block release revoke     devices and rules for them   (devices)
    retract
    queue approve deny                          requests that wait           (queue)
    explain try reload                          decisions, a new policy      (explain)
    policy                                      policy files                 (policy; policy_check, prove,
                                                                             prove_kernel,
                                                                             prove_question,
                                                                             policy_regions,
                                                                             policy_sources)
    evidence stale                              used and unused rules        (evidence)
    status doctor                               state and problems           (health)
    page open token                             the page for people          (page)
    notify                                      tests of its messages        (notify)
    request                                     a client; needs no daemon
    lab                                         a program behind the gateway (lab; lab_report,
                                                lab_gateway)
    emulate                                     a router for tests of clients
    backup restore erase                        the state                    (backup, restore, erase;
                                                                             restore_report)
    api-schema uninstall demo                   (schema, uninstall, demo; demo_report)
    manual                                      man pages and completions    (manual)
    install                                     the service from a pipx copy (install)

Shared by the commands: ``client`` (of the control socket), ``terminal``, ``table``, ``formats``, ``parameters``,
``holder``, ``incidents``, ``field_notes`` and ``known_values`` (for completion).

Most commands ask the daemon over its control socket and take --runtime-dir and --json. Exit codes: 0 done,
1 refused or not found, 2 wrong usage or configuration, 3 the daemon does not answer.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from upnp_gw import __version__
from upnp_gw.cli.terminal import Context, colour_option, prepare, show_error
from upnp_gw.text.escape import shown

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

GROUPS: dict[str, dict[str, tuple[str, str, str]]] = {
    "The gateway": {
        "setup": ("upnp_gw.cli.setup", "setup", "Set this machine up, by five questions."),
        "import": ("upnp_gw.cli.importing", "import_", "Take over the configuration of miniupnpd."),
        "run": ("upnp_gw.cli.run", "run", "Run the gateway."),
        "status": ("upnp_gw.cli.health", "status", "Show the state of the gateway."),
        "doctor": ("upnp_gw.cli.health", "doctor", "Check this machine for problems."),
        "demo": ("upnp_gw.cli.demo", "demo", "Demonstrate upnp-gw in network namespaces."),
        "install": ("upnp_gw.cli.install", "install", "Install the service from a pipx copy; remove it."),
        "backup": ("upnp_gw.cli.backup", "backup", "Write the state into one file."),
        "erase": ("upnp_gw.cli.erase", "erase", "Erase what is kept of a device, or all history."),
        "restore": ("upnp_gw.cli.restore", "restore", "Put the state of a backup in place."),
        "uninstall": ("upnp_gw.cli.uninstall", "uninstall", "Remove our table from the kernel."),
    },
    "Port mappings": {
        "list": ("upnp_gw.cli.mappings", "list_mappings", "List the port mappings and pinholes."),
        "show": ("upnp_gw.cli.mappings", "show_mapping", "Show one mapping in full."),
        "add": ("upnp_gw.cli.mappings", "add", "Open a port as the operator."),
        "delete": ("upnp_gw.cli.mappings", "delete", "Close mappings and end their flows."),
    },
    "Requests and decisions": {
        "log": ("upnp_gw.cli.decisions", "decisions", "List requests and their answers."),
        "explain": ("upnp_gw.cli.explain", "explain", "Explain a decision."),
        "try": ("upnp_gw.cli.explain", "try_", "Show the answer to a request; change nothing."),
        "devices": ("upnp_gw.cli.devices", "devices", "List devices, their mappings and refusals."),
        "evidence": ("upnp_gw.cli.evidence", "evidence", "List requested ports and their traffic."),
        "stale": ("upnp_gw.cli.evidence", "stale", "List unused rules, mappings and devices."),
    },
    "Devices": {
        "name": ("upnp_gw.cli.devices", "name", "Give a device a name."),
        "allow": ("upnp_gw.cli.devices", "allow", "Let a device open its own ports."),
        "block": ("upnp_gw.cli.devices", "block", "Refuse every request of a device."),
        "release": ("upnp_gw.cli.devices", "release", "End the incident and the block of a device."),
        "revoke": ("upnp_gw.cli.devices", "revoke", "End the mappings and questions of a device."),
        "retract": ("upnp_gw.cli.devices", "retract", "Remove a rule that a command wrote."),
    },
    "Questions": {
        "queue": ("upnp_gw.cli.queue", "queue", "List requests that wait for an answer."),
        "approve": ("upnp_gw.cli.queue", "approve", "Approve a request for a time."),
        "deny": ("upnp_gw.cli.queue", "deny", "Deny a request."),
    },
    "Policy": {
        "policy": ("upnp_gw.cli.policy", "policy", "Show, check, compare and write policies."),
        "reload": ("upnp_gw.cli.explain", "reload", "Load the policy files again."),
    },
    "The page": {
        "page": ("upnp_gw.cli.page", "page", "Run the page for people."),
        "open": ("upnp_gw.cli.page", "open_", "Sign a browser in to the page."),
        "token": ("upnp_gw.cli.page", "token", "Make and revoke tokens for scripts."),
        "notify": ("upnp_gw.cli.notify", "notify", "Check the messages that the page sends."),
    },
    "As a client, and for programs": {
        "request": ("upnp_gw.cli.request", "request", "Ask the gateway of this host for a port."),
        "lab": ("upnp_gw.cli.lab", "lab", "Run any program behind the gateway."),
        "emulate": ("upnp_gw.cli.emulate", "emulate", "Emulate a router for tests of clients."),
        "api-schema": ("upnp_gw.cli.schema", "api_schema", "Print the control API as OpenAPI."),
        "manual": ("upnp_gw.cli.manual.files", "manual", "Write man pages and shell completions."),
    },
}
"""Heading -> command -> module, function, summary in the list of commands."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


class Commands(click.Group):
    """Imports the module of a command only to run it, not to list it. Wraps error messages to the terminal."""

    context_class = Context

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **more: Any) -> Any:  # type: ignore[override]
        if not more.pop("standalone_mode", True):
            return super().main(args, prog_name, standalone_mode=False, **more)
        try:
            code = super().main(args, prog_name, standalone_mode=False, **more)
        except click.ClickException as error:
            show_error(error)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("Aborted!", err=True)
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return prepare(command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Completion of a command's name. Imports no command, unlike click's."""
        from click.shell_completion import CompletionItem  # only a Tab needs it

        found = [
            CompletionItem(name, help=summary)
            for name, (_, _, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<10}", summary) for name, (_, _, summary) in commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches  # only this error needs it

            near = get_close_matches(args[0], COMMANDS, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"There is no command {shown(args[0], 40)!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.command("upnp-gw", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="upnp-gw", message="%(prog)s %(version)s")
def main() -> None:
    """A UPnP IGD, NAT-PMP and PCP gateway. Every request passes one policy gate.

    UPNP_GW_RUNTIME_DIR sets --runtime-dir for all commands. NO_COLOR switches colours off. Completion for bash (for
    zsh and fish: zsh_source, fish_source):

    \b
      eval "$(_UPNP_GW_COMPLETE=bash_source upnp-gw)"
    """


main.params.append(colour_option())
