"""The output at a terminal: nothing too wide, no address cut, colour. The terminal is a real pty."""

import fcntl
import json
import os
import re
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from msgspec.structs import replace

from tests.cli.conftest import Run
from tests.cli.test_evidence import ROW
from tests.cli.worst_case import (
    DECISIONS,
    DEVICES,
    ENDPOINT,
    LONG_NAME,
    MAPPINGS,
    PASTED,
    REMOTES,
    RULE,
    SIX,
    WorstCase,
)
from tests.fixtures.fake_operator import NOW, ServedOperator, served
from upnp_gw import api
from upnp_gw.cli import COMMANDS, main
from upnp_gw.cli.client import DaemonClient
from upnp_gw.cli.terminal import wrap
from upnp_gw.text.escape import width

Terminal = Callable[..., tuple[int, str]]
URL = f"http://{ENDPOINT}/igd1.xml"
LISTINGS = {
    ("list",): (ENDPOINT, *REMOTES, DEVICES[0], LONG_NAME, "contested", "m1000000", "tcp6/65535"),
    ("show", "m1000000"): (ENDPOINT, *REMOTES, DEVICES[0], "m1000000"),
    ("log",): (ENDPOINT, *DEVICES, SIX, "d1000000", f"[{RULE}]", "65535"),
    ("explain", "d1000000"): (ENDPOINT, DEVICES[0], SIX, RULE),
    ("try", "tcp", "80", "--from", "192.168.1.5"): (SIX, RULE),
    ("devices",): (SIX, *DEVICES, LONG_NAME),
    ("evidence",): (DEVICES[0], LONG_NAME, "udp/3074"),
    ("stale",): (ENDPOINT, SIX),
    ("queue",): (ENDPOINT, SIX, *REMOTES, DEVICES[0], RULE, "d1000000"),
    ("status",): (f"{SIX}/128", URL, "abcdefghijklmno", "203.0.113.128"),
    ("doctor",): (SIX, ENDPOINT),
    ("reload",): (ENDPOINT, SIX, "m1000000", DEVICES[0], "d1000000"),
    ("policy", "show"): (SIX, ENDPOINT),
    ("policy", "diff", "FILE"): (ENDPOINT, DEVICES[1], "d1000001"),
    ("add", "tcp", "80", "192.168.1.5"): (ENDPOINT, "m1000000", "tcp6/65535"),
    ("delete", "m1000000"): (ENDPOINT, "m1000000"),
    ("revoke", "--device", "ps5"): (ENDPOINT, "m1000000", "m1000001"),
    ("release", "ps5"): (),
    ("block", "ps5"): (ENDPOINT, "m1000000", "m1000001"),
    ("approve", "3", "--for", "1d"): (ENDPOINT, "m1000000"),
    ("approve", "3"): (SIX, ENDPOINT),
    ("name", "ps5", "console"): (SIX, ENDPOINT),
}
"""Command -> the text that is whole in its output."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ServedOperator]:
    with served(tmp_path / "run", WorstCase()) as made:
        yield made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    """Runs a command at a terminal of so many columns; its exit code, and what came to the terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("UPNP_GW_RUNTIME_DIR", str(tmp_path / "run"))

    def run(*arguments: str, columns: int = 80, **environment: str) -> tuple[int, str]:
        controller, child = os.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        came: list[bytes] = []
        reader = threading.Thread(target=_read, args=(controller, came))
        reader.start()
        with monkeypatch.context() as here, open(child, "w", encoding="utf-8") as stream:
            for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
                here.setattr(f"sys.{name}", stream)
            for name, value in environment.items():
                here.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(arguments, prog_name="upnp-gw")
        reader.join(30)
        os.close(controller)
        code = ended.value.code
        return code if isinstance(code, int) else 0, b"".join(came).decode().replace("\r\n", "\n")

    return run


def _read(descriptor: int, came: list[bytes]) -> None:
    """Reads until the other side is closed: Linux reports that as an error."""
    try:
        while read := os.read(descriptor, 65536):
            came.append(read)
    except OSError:
        pass


@pytest.fixture
def policy_file(tmp_path: Path) -> str:
    """A policy that grants what the recorded decision refused."""
    path = tmp_path / "p.toml"
    path.write_text('version = 1\n[[grant]]\nname = "all"\nwho = "*"\n')
    return str(path)


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_no_line_is_too_wide_and_no_address_is_cut(
    daemon: ServedOperator, terminal: Terminal, policy_file: str, command: tuple[str, ...], columns: int
) -> None:
    arguments = [policy_file if word == "FILE" else word for word in command]
    code, output = terminal(*arguments, columns=columns)
    assert code in (0, 1), output
    lines = click.unstyle(output).splitlines()
    words = {word.strip("(),;.:") for line in lines for word in line.split()} | set(" ".join(lines).split())
    for whole in LISTINGS[command]:
        assert whole in words, f"{whole} is cut:\n{output}"
    # Rules for a firewall, commands of ours, URLs and paths are pasted: each is on one line, however long.
    pasted = (PASTED, URL, policy_file, f"{policy_file};", f"{policy_file}:")
    commands = ("upnp-gw delete ", "upnp-gw release ")
    wide = [
        line
        for line in lines
        if width(line) > columns and not line.endswith(pasted) and not line.strip().startswith(commands)
    ]
    assert not wide, "\n".join(wide)
    released = f"upnp-gw release {DEVICES[0]}"
    assert "upnp-gw release" not in output or all(released in line for line in lines if "upnp-gw release" in line)


def test_every_command_that_shows_addresses_is_among_them() -> None:
    others = {
        "run",
        "page",
        "open",
        "token",
        "notify",
        "demo",
        "uninstall",
        "allow",
        "retract",
        "deny",
        "request",
        "api-schema",
        "lab",
        "emulate",
        "manual",
        "install",
        "setup",
        "import",
        "backup",
        "restore",
        "erase",
    }
    assert {command[0] for command in LISTINGS} == set(COMMANDS) - others


def test_a_firewall_rule_is_printed_on_one_line(daemon: ServedOperator, terminal: Terminal) -> None:
    lines = click.unstyle(terminal("doctor")[1]).splitlines()
    assert [line.strip().removeprefix("-> ") for line in lines if "nft insert" in line] == [PASTED, PASTED]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits(terminal: Terminal, command: str, columns: int) -> None:
    below = {"policy": ["check", "show", "diff", "init", "prove", "suggest"], "notify": ["test"]}
    for more in ("", *below.get(command, ())):
        _, output = terminal(*command.split(), *more.split(), "--help", columns=columns)
        lines = click.unstyle(output).splitlines()
        assert lines[0].startswith(f"Usage: {' '.join(('upnp-gw', *command.split(), *more.split()))}")
        assert max(map(width, lines)) <= columns


def test_off_a_terminal_a_decision_is_one_line(daemon: ServedOperator, upnp_gw: Run) -> None:
    answer = upnp_gw("log", env={"COLUMNS": None})
    first, second = answer.output.splitlines()
    assert first.split()[2] == DECISIONS[0].verdict
    assert ENDPOINT in first
    assert f"d1000000 [{RULE}] forbid" in first
    assert "d1000001" in second
    assert "\x1b" not in answer.output


COLOUR = re.compile(r"\x1b\[(?:\d+;?)*m")
COLOURED = {
    ("log",): {"deny", "allow"},
    ("list",): {"contested", "INCIDENT:", "ID"},
    ("explain", "d1000000"): {"deny", "facts", "who"},
    ("try", "tcp", "80", "--from", "192.168.1.5"): {"deny"},
    ("devices",): {"frozen"},
    ("status",): {"WARNING", "wan"},
    ("doctor",): {"FAIL", "WARN", "ok"},
    ("name", "ps5", "console"): {"Error:"},
    ("delete",): {"Error:"},
    ("reload",): {"warning:"},
    ("--help",): {"Options:", "Devices:"},
}


@pytest.mark.parametrize("command", COLOURED, ids=" ".join)
def test_words_are_in_colour_on_a_terminal_alone(
    daemon: ServedOperator, terminal: Terminal, upnp_gw: Run, command: tuple[str, ...]
) -> None:
    _, output = terminal(*command)
    painted = set(re.findall(r"(?:\x1b\[[\d;]*m)+([^\x1b]+)\x1b\[0m", output))
    assert {word.strip() for word in painted} >= COLOURED[command]
    for plain in (
        terminal("--color", "never", *command)[1],
        terminal(*command, NO_COLOR="1")[1],
        terminal(*command, TERM="dumb")[1],
    ):
        assert "\x1b" not in plain
        assert _timeless(plain) == _timeless(click.unstyle(output)), "colour only adds"
    assert "\x1b" not in upnp_gw(*command).output
    assert COLOUR.search(upnp_gw("--color", "always", *command).output)


def _timeless(text: str) -> str:
    return re.sub(r"\b\d+s\b|(?<=m)\d+s", "", text)


def test_color_may_stand_after_the_command(daemon: ServedOperator, upnp_gw: Run) -> None:
    assert COLOUR.search(upnp_gw("log", "--color", "always", env={"NO_COLOR": "1"}).output)
    wrong = upnp_gw("log", "--color", "sometimes")
    assert wrong.exit_code == 2
    assert "'auto', 'always', 'never'" in wrong.output


def test_watch_is_in_colour_and_fits(daemon: ServedOperator, terminal: Terminal) -> None:
    answer_all = daemon.operator.mappings

    async def mappings() -> list[api.Mapping]:
        daemon.operator.publish(None)
        return await answer_all()

    daemon.operator.mappings = mappings  # type: ignore[method-assign]
    code, output = terminal("list", "--watch")
    assert code == 0
    cleared, drawn = output.split("\x1b[H\x1b[2J")
    assert cleared == ""
    assert "\x1b[33mcontested\x1b[0m" in drawn
    assert max(map(width, click.unstyle(drawn).splitlines())) <= 80
    assert "upnp-gw stopped" in drawn
    assert terminal("--color", "never", "list", "--watch")[1].count("\x1b") == 2, "clears the screen"


@pytest.mark.spec("SR-21")
def test_foreign_text_cannot_colour_anything(daemon: ServedOperator, terminal: Terminal) -> None:
    evil = "\x1b[31mred\x1b[0m"
    daemon.operator.held = [replace(MAPPINGS[0], description=evil, device_name=evil, rule=evil, remote_host=None)]
    daemon.operator.decided = []
    _, output = terminal("--color", "never", "list", columns=200)
    assert "\x1b" not in output
    assert r"\x1b[31mred" in output


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("one two three", 80, ["one two three"]),
        ("a" * 30 + " " + "b" * 20, 40, ["a" * 30, "  " + "b" * 20]),
        ("x" * 50, 40, ["x" * 40, "  " + "x" * 10]),
        ("日" * 30, 40, ["日" * 20, "  " + "日" * 10]),
        (
            "run it as follows: sudo upnp-gw policy check --strict FILE now",
            40,
            ["run it as follows:", " sudo upnp-gw policy check --strict FILE", "  now"],
        ),
        ("upnp-gw is not running: nobody is there", 40, ["upnp-gw is not running: nobody is there"]),
        ("it is here: upnp-gw at " + "/path" * 7, 40, ["it is here: upnp-gw at", "  " + "/path" * 7]),
        ("/path" * 9 + ": nobody", 40, ["/path" * 9 + ":", "  nobody"]),
        ("it says that `some words in quotes` stay", 40, ["it says that `some words in quotes` stay"]),
        ("it says this: `some words in quotes` stay", 40, ["it says this: `some words in quotes`", "  stay"]),
    ],
)
def test_text_wraps_at_words_and_commands_stay_whole(text: str, most: int, expected: list[str]) -> None:
    assert wrap(text, most, "  ") == expected


@pytest.mark.spec("SR-21")
@pytest.mark.parametrize("option", ["--a", "-a", "--a=b", "-a b", "--", "--a upnp-gw"])
def test_foreign_text_that_looks_like_a_command_is_wrapped_at_once(option: str) -> None:
    """Each option could once be read in two ways: 18 of them took 16 seconds."""
    begun = time.process_time()
    for count in (*range(8, 40, 2), 400):
        lines = wrap(f"{'x' * 50} upnp-gw {f'{option} ' * count}end", 80)
        assert "".join(lines).endswith("end")
        assert time.process_time() - begun < 1.0


def test_the_fixture_is_as_long_as_it_can_be() -> None:
    assert (len(SIX), len(ENDPOINT), len(DEVICES[0]), len(LONG_NAME)) == (39, 47, 33, 40)
    assert ROW.last_asked == NOW


EVIL = "\x1b[2J\r\n\u202eevil"
Replace = Callable[[Any], Any]


def _replacements(value: Any, place: tuple[Any, ...] = ()) -> Iterator[Replace]:
    """For each text in a JSON value: a function that copies such a value, with hostile text there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _replacements(each, (*place, key))
    if isinstance(value, str):
        yield lambda whole: _with_evil(whole, place)


def _with_evil(value: Any, place: tuple[Any, ...]) -> Any:
    if not place:
        return EVIL
    copy = value.copy()
    copy[place[0]] = _with_evil(value[place[0]], place[1:])
    return copy


@pytest.mark.spec("SR-21")
@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_no_text_of_an_answer_acts_on_the_terminal(
    daemon: ServedOperator,
    upnp_gw: Run,
    policy_file: str,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    """One text of the daemon's answers at a time is hostile."""
    arguments = [policy_file if word == "FILE" else word for word in command]
    real = DaemonClient.request
    answers: dict[str, Any] = {}
    hostile: tuple[str, Replace] | None = None

    def request(client: DaemonClient, method: str, path: str, *more: Any, **named: Any) -> bytes:
        answers[path] = json.loads(real(client, method, path, *more, **named))
        if hostile is not None and hostile[0] == path:
            return json.dumps(hostile[1](answers[path])).encode()
        return json.dumps(answers[path]).encode()

    monkeypatch.setattr(DaemonClient, "request", request)
    upnp_gw(*arguments)
    shown_texts = 0
    for path, answer in list(answers.items()):
        for replacement in _replacements(answer):
            hostile = path, replacement
            output = upnp_gw(*arguments).output
            shown_texts += "evil" in output
            assert all(line.isprintable() for line in output.split("\n")), output
    assert shown_texts or not answers or command[0] == "delete"
