"""Other users may have replaced a file of the gateway: the real daemon refuses it at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, served_home
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
    with served_home(tmp_path, *ROUTER) as home, EchoServer(home.console, TCP, 8080):
        approved, policy = home.daemon.state_dir / "approved.toml", tmp_path / "policy.toml"
        home.point().add(8080)
        home.daemon.cli("allow", str(home.console.address), "9999")
        with pipe(policy):
            output = home.daemon.cli("reload", check=False)
            assert output.returncode != 0
            assert "policy.toml: not a regular file but a pipe" in output.stderr
            assert "policy.toml" in str(home.daemon.json("status"))
        home.daemon.cli("reload")
        with pipe(approved):
            output = home.daemon.cli("block", str(home.pc.address), check=False)
            assert "approved.toml: not a regular file but a pipe" in output.stderr
            assert home.daemon.json("status")
            assert home.daemon.stop() == 0
            with pytest.raises(
                DaemonFailed, match=r"code 2:\n(?s:.*)approved\.toml: not a regular file but a pipe"
            ):
                home.daemon.start()
            assert home.reach(8080), "its lease goes on in the kernel"
        home.daemon.start()
        home.agree()
        assert [row["external_port"] for row in home.rows()] == [8080]
