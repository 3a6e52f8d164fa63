"""``page``, ``open`` and ``token``: the page for people, the link that signs in there, and tokens for scripts."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, DaemonUnreachable, RequestProblem, exit_with_error, print_json
from upnp_gw.cli.parameters import rule_time_option, runtime_dir_option
from upnp_gw.cli.terminal import print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

CONFIG_ERROR = 2
SOCKET_NAME = "page.sock"
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--config", "config_file", type=_PATH, metavar="FILE", help="Configuration file, TOML.")
@runtime_dir_option("Directory of the gateway's control socket.")
@click.option(
    "--page-dir",
    type=_PATH,
    envvar="UPNP_GW_PAGE_DIR",
    metavar="DIR",
    help="One directory for all that the page keeps. Default: the two of [page].",
)
def page(config_file: Path | None, runtime_dir: Path | None, page_dir: Path | None) -> None:
    """Run the page for people in the foreground. It asks the gateway like every command.

    To sign in: `upnp-gw open`.
    """
    from upnp_gw.config.page_settings import load_page
    from upnp_gw.system import log_lines

    try:
        options = {"control_dir": runtime_dir, "runtime_dir": page_dir, "state_dir": page_dir}
        settings = load_page(config_file, options)
        log_lines.configure(settings.log_format, settings.log_level)
        from upnp_gw.page.process import run_page

        run_page(settings)
    except ConfigError as error:
        print_text(f"upnp-gw page: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)


class PageClient(DaemonClient):
    """Sends requests to the page's own socket."""

    program, option = "upnp-gw page", "--page-dir"

    def __init__(self, page_dir: Path) -> None:
        super().__init__(page_dir)
        self.path = page_dir / SOCKET_NAME


def page_command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a command that asks the page: it gets a PageClient and ``as_json`` as its first arguments."""
    import functools

    @click.option(
        "--page-dir",
        type=_PATH,
        default=Path("/run/upnp-gw-page"),
        envvar="UPNP_GW_PAGE_DIR",
        metavar="DIR",
        help="Directory of the page's socket.  [default: /run/upnp-gw-page]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(function)
    def command(page_dir: Path, as_json: bool, **given: object) -> None:
        try:
            function(PageClient(page_dir), as_json, **given)
        except (DaemonUnreachable, RequestProblem) as error:
            exit_with_error(error, as_json)

    return command


@click.command("open")
@click.option("--end-all", is_flag=True, help="Sign everybody out instead.")
@page_command
def open_(client: PageClient, as_json: bool, end_all: bool) -> None:
    """Print a link that signs a browser in to the page, once. On a desktop, open it too.

    The page listens on the gateway itself. From another machine: ssh -L 5081:127.0.0.1:5081 GATEWAY
    """
    if end_all:
        ended = json.loads(client.request("DELETE", "/sessions"))["ended"]
        print_text(f"{formats.plural(ended, 'session')} ended")
        return
    body = client.request("POST", "/link")
    if as_json:
        print_json(body)
        return
    link = json.loads(body)
    click.echo(link["url"])
    print_text(f"It is good once, for {formats.duration(link['good_s'])}.", err=True)
    if os.environ.get("SSH_CONNECTION"):
        print_text("From the other end of this connection: ssh -L 5081:127.0.0.1:5081 and this host.", err=True)
    elif sys.stdout.isatty() and os.geteuid() and {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        import webbrowser

        webbrowser.open(link["url"])


@click.group()
def token() -> None:
    """Make, list and revoke tokens for scripts that ask the page."""


@token.command()
@click.argument("name")
@click.option("--acts", is_flag=True, help="It may change things. Default: it only reads.")
@click.option("--for", "for_s", callback=rule_time_option, metavar="TIME", help="How long. Default: until revoked.")
@page_command
def create(client: PageClient, as_json: bool, name: str, acts: bool, for_s: int | None) -> None:
    """Make a token and print it. Nothing keeps it: it cannot be shown again.

    Example: curl -H "Authorization: Bearer TOKEN" http://127.0.0.1:5081/v1/mappings
    """
    body = client.request("POST", "/tokens", body={"name": name, "acts": acts, "for_s": for_s})
    if as_json:
        print_json(body)
    else:
        click.echo(json.loads(body)["token"])


@token.command("list")
@page_command
def list_tokens(client: PageClient, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    body = client.request("GET", "/tokens")
    if as_json:
        print_json(body)
        return
    tokens = json.loads(body)
    for each in tokens:
        does = "acts" if each["acts"] else "reads"
        ends = f"until {each['ends']}" if each["ends"] else "until it is revoked"
        print_text(f"{shown(each['name'])}: {does}, made {each['created']}, good {ends}")
    if not tokens:
        print_text("no tokens")


@token.command()
@click.argument("name")
@page_command
def revoke(client: PageClient, as_json: bool, name: str) -> None:
    """Revoke a token: it is not good from now on."""
    from urllib.parse import quote

    body = client.request("DELETE", f"/tokens/{quote(name, safe='')}")
    if as_json:
        print_json(body)
    else:
        print_text(shown(f"revoked: {name}"))
