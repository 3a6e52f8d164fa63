"""The man pages have every command, option and key, and mandoc accepts them. The completions do in real shells."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from tests import ROOT
from upnp_gw.cli import COMMANDS, main
from upnp_gw.cli.manual.completion import DEBIAN_ZSH, DIRECTORIES, VARIABLE
from upnp_gw.cli.manual.files import manual_files, page_date
from upnp_gw.config.file import KEYS, NOTIFY
from upnp_gw.gate.accepted import ACCEPTED

DATE = "2026-05-01"
LOCAL = PurePosixPath("/usr/local")
FILES = manual_files(LOCAL, DATE)
MAN = PurePosixPath("share/man")
PROGRAMS = Path(sys.executable).parent


def commands(
    command: click.Command = main, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words: (("policy", "check"), command)."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*words, name))


EVERY = [(words, command) for words, command in commands() if words]


def options(command: click.Command) -> set[str]:
    """The names of its visible options."""
    return {name for param in command.params for name in param.opts if _shown(param)}


def _shown(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and not param.hidden


def page(name: str) -> str:
    """The text of a page, without escapes of roff."""
    text = FILES[MAN / f"man{name[-1]}" / name]
    return re.sub(r"\\f[BIP]", "", text.replace(r"\-", "-").replace(r"\e", "\\"))


@pytest.mark.parametrize(
    ("words", "command"), EVERY, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_and_option_is_in_the_manual(words: tuple[str, ...], command: click.Command) -> None:
    text = page(f"upnp-gw-{words[0]}.1")
    assert f"upnp-gw {' '.join(words)}" in text.replace("\n", " ")
    assert all(re.search(rf"^{option}\b", text, re.M) for option in options(command))


def test_the_page_of_the_program_lists_every_command_and_no_page_is_left_out() -> None:
    first = page("upnp-gw.1")
    assert all(f"upnp-gw-{name}(1)\n{summary.rstrip('.')}" in first for name, (_, _, summary) in COMMANDS.items())
    pages = {place.name for place in FILES if place.parent == MAN / "man1"}
    assert pages == {"upnp-gw.1", *(f"upnp-gw-{name}.1" for name in COMMANDS)}


def test_every_key_is_in_the_pages_of_the_files() -> None:
    for name, tables in (("upnp-gw.toml.5", {**KEYS, "notify": NOTIFY}), ("upnp-gw-policy.5", ACCEPTED)):
        text = page(name)
        for table, keys in tables.items():
            for key in set(keys) - {"*"}:
                assert re.search(rf"^\.TP\n{key}( =|$)", text, re.M), (name, table, key)


def test_text_of_roff_is_no_request() -> None:
    """A line of the help that begins with a dot would vanish."""
    lines = [line for text in FILES.values() if text.startswith(".TH") for line in text.splitlines()]
    macros = {line.split()[0] for line in lines if line.startswith((".", "'"))}
    assert macros <= {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".br", ".sp", ".nf", ".fi", ".RS", ".RE"}
    assert all(line.isascii() for line in lines)


@pytest.mark.packages
def test_mandoc_accepts_every_page(tmp_path: Path) -> None:
    mandoc = program("mandoc")
    written = [write(tmp_path, place) for place in FILES if place.is_relative_to(MAN)]
    done = subprocess.run([mandoc, "-T", "lint", *written], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = tmp_path / "broken.1"
    broken.write_text(FILES[MAN / "man1" / "upnp-gw.1"].replace(".SH", ".SHH", 1))
    assert (
        subprocess.run([mandoc, "-T", "lint", broken], capture_output=True, timeout=60, check=False).returncode != 0
    )


# -- completion


@pytest.mark.parametrize(
    ("words", "command"), EVERY, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_and_option_is_completed(words: tuple[str, ...], command: click.Command) -> None:
    completion = ShellComplete(main, {}, "upnp-gw", VARIABLE)
    *groups, last = words
    assert last in {item.value for item in completion.get_completions(groups, last[:-1])}
    assert {item.value for item in completion.get_completions(list(words), "--")} >= options(command)


def test_a_tab_behind_a_command_that_does_not_exist_is_no_error() -> None:
    ShellComplete(main, {}, "upnp-gw", VARIABLE).get_completions(["lsit"], "")


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian, Ubuntu: apt install {name})")
    return path


def write(directory: Path, place: PurePosixPath) -> Path:
    path = directory / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILES[place])
    return path


def in_shell(*command: str | Path) -> str:
    environ = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environ)
    assert done.stderr == ""
    return done.stdout


def test_bash_completes(tmp_path: Path) -> None:
    script = write(tmp_path, DIRECTORIES["bash"])
    asks = 'COMP_WORDS=(upnp-gw policy sh); COMP_CWORD=2; _upnp_gw_completion upnp-gw; echo "${COMPREPLY[@]}"'
    shown = in_shell("bash", "--norc", "-c", f"source {script}; complete -p upnp-gw; {asks}").splitlines()
    assert shown == ["complete -o nosort -F _upnp_gw_completion upnp-gw", "show"]


@pytest.mark.packages
def test_fish_completes(tmp_path: Path) -> None:
    script = write(tmp_path, DIRECTORIES["fish"])
    shown = in_shell(program("fish"), "-N", "-c", f"source {script}; complete -C 'upnp-gw policy sh'")
    assert [line.split("\t")[0] for line in shown.splitlines()] == ["show"]


ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; TERM=dumb; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -d $2"
zpty -w shell 'print rea""dy'
zpty -r shell shown '*ready*'
zpty -w -n shell $'upnp-gw policy sh\t'
zpty -r shell shown '*policy sh*ow *'
print -r -- $shown
zpty -d shell
"""
"""A person's zsh on a terminal of its own; Tab is pressed."""


@pytest.mark.packages
def test_zsh_completes(tmp_path: Path) -> None:
    zsh = program("zsh")
    (tmp_path / "ask.zsh").write_text(ZSH)
    directory = write(tmp_path, DIRECTORIES["zsh"]).parent
    assert "upnp-gw policy show" in in_shell(zsh, "-f", tmp_path / "ask.zsh", directory, tmp_path / "dump")


# -- the command


def test_the_command_writes_all_files_for_every_user(tmp_path: Path) -> None:
    (tmp_path / "usr" / "share" / "man" / "man1").mkdir(parents=True)
    (tmp_path / "usr" / "share" / "man" / "man1" / "upnp-gw.1").symlink_to(tmp_path / "elsewhere")
    before = os.umask(0o077)
    try:
        environ = {"SOURCE_DATE_EPOCH": "1777593600"}
        done = CliRunner().invoke(main, ["manual", "--prefix", "/usr", "--root", str(tmp_path)], env=environ)
    finally:
        os.umask(before)
    assert done.exit_code == 0
    expected = manual_files(PurePosixPath("/usr"), DATE)
    found = {path.relative_to(tmp_path / "usr"): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {Path(place): text for place, text in expected.items()}
    assert str(len(found)) in done.output
    assert not (tmp_path / "elsewhere").exists()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o644}
    assert Path(DEBIAN_ZSH) in found


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "share").write_text("")
    done = CliRunner().invoke(main, ["manual", "--prefix", "/", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert str(tmp_path / "share") in done.output


def test_the_date_is_that_of_the_source() -> None:
    assert page_date("1777593600") == DATE
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", page_date(None))
    assert page_date("") == page_date(None)


def test_the_same_program_makes_the_same_pages() -> None:
    assert manual_files(LOCAL, DATE) == FILES
    assert (ROOT / "examples" / "config" / "home.toml").read_text().splitlines()[0] in page("upnp-gw.toml.5")
