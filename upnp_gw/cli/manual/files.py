"""All files of the manual with their places, and the command ``manual``."""

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import click

from upnp_gw import __version__
from upnp_gw.cli.manual import roff
from upnp_gw.cli.manual.command_pages import command_pages
from upnp_gw.cli.manual.commands import PROGRAM, program_reference
from upnp_gw.cli.manual.completion import DEBIAN_ZSH, DIRECTORIES, completion_script
from upnp_gw.cli.manual.file_pages import file_pages
from upnp_gw.cli.terminal import print_text
from upnp_gw.system.files import FileProblem, write_shared

USR = PurePosixPath("/usr")


def manual_files(prefix: PurePosixPath, date: str) -> Mapping[PurePosixPath, str]:
    """Path below ``prefix`` -> text: man pages and completions.

    ``date``: of the pages, such as ``2026-05-01``. Below /usr, zsh's script is where Debian's zsh looks.
    """
    title = partial(roff.title, date=date, version=f"{PROGRAM} {__version__}")
    pages = {**command_pages(program_reference(), title), **file_pages(title)}
    files = {PurePosixPath("share/man") / f"man{name[-1]}" / name: text for name, text in pages.items()}
    places = {**DIRECTORIES, "zsh": DEBIAN_ZSH} if prefix == USR else DIRECTORIES
    return files | {place: completion_script(shell) for shell, place in places.items()}


def page_date(epoch: str | None) -> str:
    """The date for the pages: that of SOURCE_DATE_EPOCH, if it is set; else today, in UTC."""
    seconds = int(epoch) if epoch and epoch.isdecimal() else time.time()
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


@click.command()
@click.option(
    "--prefix",
    type=click.Path(path_type=PurePosixPath),
    default=PurePosixPath("/usr/local"),
    metavar="DIR",
    help="Where programs are installed.  [default: /usr/local]",
)
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), metavar="DIR", help="Write below DIR.")
def manual(prefix: PurePosixPath, root: Path) -> None:
    """Write the man pages and the completions of bash, zsh and fish below /usr/local.

    For packages: --root names their tree, and SOURCE_DATE_EPOCH the date of the pages.
    """
    files = manual_files(prefix, page_date(os.environ.get("SOURCE_DATE_EPOCH")))
    base = root / prefix.relative_to(prefix.anchor)
    try:
        for place, text in files.items():
            write_shared(base / place, text.encode())
    except FileProblem as error:
        print_text(f"upnp-gw: {error}", err=True)
        sys.exit(1)
    print_text(f"{len(files)} files are written below {base}.")
