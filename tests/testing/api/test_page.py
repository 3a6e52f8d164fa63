"""docs/emulate.md: its examples run, and its tables are whole."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.testing.api.process import DONE_S
from upnp_gw.cli.emulate import emulate
from upnp_gw.testing.api.routes import ROUTES

PAGE = (ROOT / "docs" / "emulate.md").read_text("utf-8")
BIN = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


def environment(tmp_path: Path) -> dict[str, str]:
    """With ``upnp-gw`` of this checkout first on PATH."""
    (tmp_path / "upnp-gw").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m upnp_gw "$@"\n')
    (tmp_path / "upnp-gw").chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


@pytest.mark.lab
def test_the_example_with_curl_ends_as_the_page_says(tmp_path: Path) -> None:
    _, start, commands, _ = blocks("sh")
    for fixed in ("5000", "5080"):
        port = free_port()
        start, commands = start.replace(fixed, port), commands.replace(fixed, port)
    env = environment(tmp_path)
    with subprocess.Popen(start.split(), env=env, stdout=subprocess.PIPE, text=True) as router:
        assert router.stdout is not None
        assert re.fullmatch(r"location \S+ control \S+ pcp \S+ ssdp \S+\n", router.stdout.readline())
        done = subprocess.run(
            ["sh", "-ec", commands.replace("curl -s", "curl -sS --fail-with-body -w '\\n'")],
            env=env,
            capture_output=True,
            text=True,
            timeout=DONE_S,
        )
        router.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed with code 718 (ConflictInMappingEntry)" in done.stdout
    *_, mapped, moved, gone = [line for line in done.stdout.splitlines() if line.startswith(("[", "{"))]
    assert mapped.startswith(
        next(line for line in PAGE.splitlines() if line.startswith("[{")).removesuffix(" ...}]")
    )
    assert moved.startswith('{"now_s":36')
    assert gone == "[]"


@pytest.mark.lab
def test_the_example_with_node_passes(tmp_path: Path) -> None:
    (tmp_path / "router.test.mjs").write_text(blocks("js")[0], "utf-8")
    argv = ["node", "--test", "router.test.mjs"]
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=3 * DONE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout.replace("ℹ", "#")


def test_its_table_has_every_option_of_the_command() -> None:
    shown = set(re.findall(r"^\| `(--[\w-]+)", PAGE, re.M))
    assert shown == {
        option
        for parameter in emulate.params
        for option in parameter.opts
        if not getattr(parameter, "hidden", False)  # --color, once another test loaded the command
    }


def test_its_table_has_every_request() -> None:
    table = PAGE.partition("| request |")[2].partition("\n\n")[0]
    shown = set()
    for cell in re.findall(r"^\| (`[A-Z].*?) \|", table, re.M):
        method = ""
        for text in re.findall(r"`([^`]+)`", cell):
            method, path = text.split() if " " in text else (method, text)
            shown.add((method, path.replace("/1", "/{id}") if path.endswith("/1") else path))
    assert shown == {(route.method, route.path) for route in ROUTES.values()}


def test_every_body_of_its_table_is_one_of_the_route() -> None:
    from upnp_gw.api import read_body

    rows = re.findall(r"^\| `(POST|PUT) (\S+)`.*?\| `({.*?})` \| (.*)\|$", PAGE, re.M)
    rows += re.findall(r"`GET \S+`, `(POST) (\S+)` \| `({.*?})` \| (.*)\|$", PAGE, re.M)
    bodies = {(route.method, route.path): route.body for route in ROUTES.values()}
    assert len(rows) == sum(body is not None for body in bodies.values())
    for method, path, example, rest in rows:
        body = bodies[method, path]
        assert body is not None
        for text in (example, *re.findall(r"`({.*?})`", rest)):
            read_body(text.encode(), body)
