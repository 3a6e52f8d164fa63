"""``page``: runs the page for people, a process of its own."""

import sys
from pathlib import Path

import click

from upnp_gw.cli.terminal import print_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

CONFIG_ERROR = 2
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--config", "config_file", type=_PATH, metavar="FILE", help="Configuration file, TOML.")
@click.option(
    "--runtime-dir",
    type=_PATH,
    envvar="UPNP_GW_RUNTIME_DIR",
    metavar="DIR",
    help="Directory of the gateway's control socket.",
)
@click.option(
    "--page-dir",
    type=_PATH,
    envvar="UPNP_GW_PAGE_DIR",
    metavar="DIR",
    help="Directory for everything of the page's own. Default: two, those of [page].",
)
def page(config_file: Path | None, runtime_dir: Path | None, page_dir: Path | None) -> None:
    """Run the page for people in the foreground. It asks the gateway like every command."""
    from upnp_gw import logs
    from upnp_gw.config.page_settings import load_page

    try:
        options = {"control_dir": runtime_dir, "runtime_dir": page_dir, "state_dir": page_dir}
        settings = load_page(config_file, options)
        logs.configure(settings.log_format, settings.log_level)
        from upnp_gw.page.process import run_page

        run_page(settings)
    except ConfigError as error:
        print_text(f"upnp-gw page: {shown(str(error), 1000)}", err=True)
        sys.exit(CONFIG_ERROR)
