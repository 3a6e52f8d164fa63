"""``run`` up to the daemon, and what every command says where none runs."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import ServedOperator
from upnp_gw.cli import COMMANDS, main
from upnp_gw.config.settings import Config
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.errors import ConfigError


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, tuple[str, ...]]]:
    """Instead of the daemon: a list of what it would be started with; it ends with exit code 5."""
    monkeypatch.setenv("SSL_CERT_FILE", "restored after the test")
    monkeypatch.setenv("SSL_CERT_DIR", "restored after the test")
    calls: list[tuple[Config, tuple[str, ...]]] = []

    def run_daemon(config: Config, detected: tuple[str, ...]) -> int:
        calls.append((config, detected))
        if config.backend == "nftables":
            raise ConfigError("runtime_dir", "/run/x", "another upnp-gw answers there")
        return 5

    daemon = ModuleType("upnp_gw.daemon.process")
    daemon.run_daemon = run_daemon  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "upnp_gw.daemon.process", daemon)
    return calls


def test_every_option_of_the_contract(
    started: list[tuple[Config, tuple[str, ...]]], upnp_gw: Run, tmp_path: Path
) -> None:
    file = tmp_path / "gw.toml"
    file.write_text('[lan]\ninterfaces = ["file0"]\nhairpin = "same"\n[wan]\ninterface = "file1"\n')
    answer = upnp_gw(
        *("run", "--lan", "upnpgw-a", "--lan", "upnpgw-b", "--wan", "upnpgw-w", "--config", str(file)),
        *("--policy", "p.toml", "--state-dir", str(tmp_path / "s"), "--runtime-dir", str(tmp_path / "r")),
        *("--http-port", "0", "--firewall", "router", "--backend", "memory", "--flush"),
        *("--log-level", "debug"),
    )
    assert answer.exit_code == 5, answer.output
    ((config, why),) = started
    assert config == Config(
        wan="upnpgw-w",
        lan=("upnpgw-a", "upnpgw-b"),
        policy=Path("p.toml"),
        state_dir=tmp_path / "s",
        runtime_dir=tmp_path / "r",
        http_port=0,
        firewall=FirewallMode.ROUTER,
        flush_on_stop=True,
        backend="memory",
        log_level="debug",
        hairpin="same",
    )
    missing = [
        f"{name} does not exist; it is served as soon as it appears"
        for name in ("upnpgw-w", "upnpgw-a", "upnpgw-b")
    ]
    assert answer.stdout.splitlines() == [*why, *missing]
    assert why == (), "what is given was not chosen, and what is missing now may be there later"


@pytest.mark.spec("SR-4")
@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("", ["--lan", "x0", "--wan", "x0"], "command line: lan.interfaces[0]: x0 is also the WAN"),
        (
            '[lan]\ninterfaces=["x0","x1"]\n[wan]\ninterface="x1"',
            [],
            "gw.toml:2: lan.interfaces[1]: x1 is also the WAN",
        ),
        (
            '[lan]\ninterfcaes=["x0"]',
            ["--wan", "x1"],
            "gw.toml:2: lan.interfcaes: unknown; did you mean interfaces?",
        ),
        (
            "",
            ["--lan", "lo", "--wan", "x1", "--firewall", "bridge"],
            '--firewall: got "bridge"; accepted: one of "alongside", "router"',
        ),
        ("", ["--lan", "a/b", "--wan", "x1"], '--lan: got "a/b"; accepted: the name of an interface'),
        ("", ["--lan", "x0", "--wan", "x1"], "another upnp-gw answers there"),
    ],
)
def test_a_wrong_configuration_ends_with_2_before_anything_starts(
    started: list[tuple[Config, tuple[str, ...]]],
    upnp_gw: Run,
    tmp_path: Path,
    file: str,
    options: list[str],
    message: str,
) -> None:
    path = tmp_path / "gw.toml"
    path.write_text(file)
    answer = upnp_gw("run", *(["--config", str(path)] if file else []), *options)
    assert answer.exit_code == 2
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert len(started) == ("answers there" in message)


def test_a_file_that_is_not_there(upnp_gw: Run) -> None:
    answer = upnp_gw("run", "--config", "/nowhere/gw.toml")
    assert (answer.exit_code, answer.stderr) == (
        2,
        "upnp-gw: /nowhere/gw.toml: cannot be read: No such file or directory\n",
    )


TALKING = [
    ["list"],
    ["list", "--watch"],
    ["show", "m1"],
    ["add", "tcp", "80", "10.0.0.1"],
    ["delete", "m1"],
    ["log"],
    ["log", "--follow"],
    ["devices"],
    ["status"],
]


@pytest.mark.parametrize("arguments", TALKING, ids=" ".join)
def test_a_missing_daemon_is_reported_in_one_line_with_exit_code_3(
    upnp_gw: Run, tmp_path: Path, arguments: list[str]
) -> None:
    answer = upnp_gw(*arguments)
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert answer.stderr.startswith("Error: upnp-gw is not running: nothing answers at ")
    assert len(answer.stderr.splitlines()) == 1
    answer = upnp_gw(*arguments, "--json", "--runtime-dir", str(tmp_path / "elsewhere"))
    assert answer.exit_code == 3
    assert "elsewhere/control.sock" in json.loads(answer.stderr)["message"]


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500 X\r\n\r\nnot json"]
)
def test_something_else_behind_the_socket(upnp_gw: Run, tmp_path: Path, answer: bytes) -> None:
    import threading

    from upnp_gw.control.socket_path import listen

    with listen(tmp_path / "run" / "control.sock") as listener:
        listener.setblocking(True)

        def serve() -> None:
            for _ in range(2):
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        results = [upnp_gw("status", "--json"), upnp_gw("list", "--watch")]
        thread.join(10)
    for result in results:
        assert result.exit_code in (1, 3), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)


def test_uninstall_refuses_while_the_daemon_runs(daemon: ServedOperator, upnp_gw: Run) -> None:
    answer = upnp_gw("uninstall", "--yes")
    assert answer.exit_code == 1
    assert "stop it first" in answer.stderr


@pytest.mark.parametrize(
    ("mode", "message"), [("router", "It first switches forwarding off"), ("alongside", "stays as")]
)
def test_uninstall_lists_its_removals_and_asks(
    upnp_gw: Run, monkeypatch: pytest.MonkeyPatch, mode: str, message: str
) -> None:
    removed: list[bool] = []

    def remove() -> bool:
        removed.append(True)
        return True

    monkeypatch.setattr("upnp_gw.system.privileges.check_right", lambda words: None)
    monkeypatch.setattr("upnp_gw.firewall.nftables.installed_mode", lambda: FirewallMode(mode))
    monkeypatch.setattr("upnp_gw.firewall.nftables.uninstall", remove)
    answer = upnp_gw("uninstall", input="n\n")
    assert answer.exit_code == 2, "no terminal: nobody can be asked"
    assert message in answer.stderr
    assert "upnp-gw uninstall --yes" in answer.stderr
    assert not removed
    done = upnp_gw("uninstall", "--yes")
    assert (done.exit_code, removed) == (0, [True])
    assert ("Forwarding is off." in done.output) == (mode == "router")
    output = " ".join(done.output.split())
    assert "state directory: /var/lib/upnp-gw, unless [store] state_dir or --state-dir named another" in output


def test_uninstall_without_permission_names_the_command(upnp_gw: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upnp_gw.system.privileges._permitted", lambda: 0)
    answer = upnp_gw("uninstall", "--yes")
    assert answer.exit_code == 1
    assert "sudo upnp-gw uninstall" in answer.stderr


def test_a_mistyped_command_gets_the_near_ones(upnp_gw: Run) -> None:
    answer = upnp_gw("lits")
    assert answer.exit_code == 2
    assert "There is no command 'lits'. Did you mean list?" in answer.stderr


def test_the_commands_stand_in_groups(upnp_gw: Run) -> None:
    shown = upnp_gw("--help").output
    assert (
        shown.index("Port mappings:") < shown.index("  list ") < shown.index("Devices:") < shown.index("  block ")
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(upnp_gw: Run, name: str) -> None:
    answer = upnp_gw(name, "--help")
    assert answer.exit_code == 0
    assert answer.output.startswith(f"Usage: upnp-gw {name} ")


def test_every_command_but_run_takes_runtime_dir_and_json() -> None:
    import click

    local = {
        "run",
        "setup",
        "install",
        "manual",
        "page",
        "open",
        "token",
        "notify",
        "policy",
        "api-schema",
        "demo",
        "lab",
        "emulate",
        "request",
    }  # a request goes to any gateway, over the LAN
    with click.Context(main) as context:
        for name in COMMANDS.keys() - local:
            command = main.get_command(context, name)
            assert command is not None
            options = {option for parameter in command.params for option in parameter.opts}
            assert {"--runtime-dir", "--json"} <= options, name


def test_the_client_side_imports_no_server() -> None:
    """`upnp-gw list` must answer in under 0.25 s: no aiohttp, asyncio, lxml, rich on its way."""
    import subprocess

    code = "import sys, upnp_gw.cli.mappings, upnp_gw.cli.client; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    heavy = {"aiohttp", "asyncio", "lxml", "rich", "sqlite3", "ssl", "email", "pyroute2", "http.client"}
    assert heavy.isdisjoint(loaded.stdout.split())


def test_the_runtime_directory_of_the_environment_is_of_every_command(
    started: list[tuple[Config, tuple[str, ...]]], upnp_gw: Run, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    run = ("run", "--lan", "lo", "--backend", "memory", "--state-dir", str(elsewhere))
    assert upnp_gw(*run, env={"UPNP_GW_RUNTIME_DIR": str(elsewhere)}).exit_code == 5
    assert started[0][0].runtime_dir == elsewhere
    answer = upnp_gw("list", env={"UPNP_GW_RUNTIME_DIR": str(elsewhere)})
    assert str(elsewhere / "control.sock") in answer.stderr


def test_a_shell_completes_commands_and_options(upnp_gw: Run) -> None:
    for typed, found in (("upnp-gw li", "list"), ("upnp-gw policy s", "suggest"), ("upnp-gw list --w", "--watch")):
        words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
        answer = upnp_gw(env=words | {"_UPNP_GW_COMPLETE": "bash_complete"})
        assert f"plain,{found}" in answer.output.splitlines()
