"""Other users may have replaced a file of the gateway: the real daemon refuses it at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, home
from upnp_gw.lab.daemon import DaemonFailed
from upnp_gw.lab.probe import EchoServer

pytestmark = [pytest.mark.lab, pytest.mark.spec("SR-37")]


@contextmanager
def pipe(path: Path) -> Iterator[None]:
    """A pipe lies in the place of the file."""
    kept = path.rename(path.with_suffix(".kept"))
    os.mkfifo(path)
    yield
    kept.rename(path)


def test_a_pipe_holds_up_neither_the_start_nor_a_command_nor_the_stop(namespaces: None, tmp_path: Path) -> None:
    with home(tmp_path, *ROUTER) as here, EchoServer(here.console, TCP, 8080):
        approved, policy = here.daemon.state_dir / "approved.toml", tmp_path / "policy.toml"
        here.point().add(8080)
        here.daemon.cli("allow", str(here.console.address), "9999")
        with pipe(policy):
            told = here.daemon.cli("reload", check=False)
            assert told.returncode != 0
            assert "policy.toml: not a regular file but a pipe" in told.stderr
            assert "policy.toml" in str(here.daemon.json("status"))
        here.daemon.cli("reload")
        with pipe(approved):
            told = here.daemon.cli("block", str(here.pc.address), check=False)
            assert "approved.toml: not a regular file but a pipe" in told.stderr
            assert here.daemon.json("status")
            assert here.daemon.stop() == 0
            with pytest.raises(
                DaemonFailed, match=r"code 2:\n(?s:.*)approved\.toml: not a regular file but a pipe"
            ):
                here.daemon.start()
            assert here.reach(8080), "its lease goes on in the kernel"
        here.daemon.start()
        here.agree()
        assert [row["external_port"] for row in here.rows()] == [8080]
