"""Completion of values that the running gateway knows, on a real socket. A Tab never shows an error or waits."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from msgspec.structs import replace

from tests.cli.worst_case import WorstCase
from tests.fixtures.fake_operator import DEVICE, ServedOperator, decision, mapping, served
from upnp_gw import api
from upnp_gw.cli import known_values, main
from upnp_gw.cli.manual.completion import VARIABLE


def tab(directory: Path, *words: str, incomplete: str = "") -> dict[str, str | None]:
    """Value -> words about it, after a Tab behind these words."""
    arguments = [*words, "--runtime-dir", str(directory)]
    return {item.value: item.help for item in completion().get_completions(arguments, incomplete)}


def completion() -> ShellComplete:
    return ShellComplete(main, {}, "upnp-gw", VARIABLE)


@pytest.mark.parametrize("words", [("block",), ("name",), ("revoke", "--device"), ("log", "--device")])
def test_devices_by_their_names(daemon: ServedOperator, words: tuple[str, ...]) -> None:
    daemon.operator.known_devices = [replace(DEVICE, device="02:00:00:00:00:01", name="ps5"), DEVICE]
    option = [word for word in words if word.startswith("-")]
    before = [words[0], "--runtime-dir", str(daemon.runtime_dir), *option]
    found = completion().get_completions(before, "")
    assert [item.value for item in found] == ["ps5", DEVICE.device]


def test_mappings_that_are_not_named_yet(daemon: ServedOperator) -> None:
    daemon.operator.held = [mapping(1), mapping(2), mapping(12)]
    assert list(tab(daemon.runtime_dir, "delete", "m1")) == ["m2", "m12"]
    assert list(tab(daemon.runtime_dir, "show", incomplete="m1")) == ["m1", "m12"]


def test_decisions(daemon: ServedOperator) -> None:
    daemon.operator.decided = [decision(17)]
    assert tab(daemon.runtime_dir, "explain") == {"d17": "deny, 02:00:00:00:00:66"}


def test_text_that_a_shell_would_read_is_not_offered(daemon: ServedOperator) -> None:
    names = ("a b", "$(reboot)", "x;y", "*", "good-1", "\x1b[2J")
    daemon.operator.known_devices = [replace(DEVICE, name=name) for name in names]
    assert list(tab(daemon.runtime_dir, "block")) == ["good-1"]


def test_without_a_gateway_there_are_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("block", "show", "explain", "approve", "retract"):
        assert tab(tmp_path, command) == {}
    assert capfd.readouterr() == ("", "")


def test_a_gateway_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_values.QuickClient, "answer_s", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control.sock"))
        silent.listen()
        began = time.monotonic()
        assert tab(tmp_path, "show") == {}
        assert time.monotonic() - began < 5


def test_an_error_of_the_gateway_is_no_error_at_a_tab(daemon: ServedOperator) -> None:
    daemon.operator.held = [mapping(1)]
    assert list(tab(daemon.runtime_dir, "show")) == ["m1"]
    assert tab(daemon.runtime_dir, "retract") == {}, "this operator has no policy"


class WithRules(WorstCase):
    async def policy(self) -> api.PolicyText:
        rules = 'version = 1\n[[grant]]\nname = "approved-3"\nwho = "*"\n[[forbid]]\nname = "block-pc"\n'
        return replace(await super().policy(), approved=rules)


def test_questions_and_rules_of_commands(tmp_path: Path) -> None:
    with served(tmp_path / "run", WithRules()) as daemon:
        assert tab(daemon.runtime_dir, "retract") == {"approved-3": "grant", "block-pc": "forbid"}
        numbers = {str(question.number) for question in asyncio.run(daemon.operator.queue())}
        assert tab(daemon.runtime_dir, "approve").keys() == numbers
        assert numbers
