"""The page as a process of its own: it starts, asks the daemon, and stops at SIGTERM."""

import http.client
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.fixtures.fake_operator import served


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_it_serves_what_the_daemon_says_and_stops(tmp_path: Path) -> None:
    listen, lan = free_port(), free_port()
    config = tmp_path / "gw.toml"
    config.write_text(f'[page]\nlisten = "127.0.0.1:{listen}"\nport = {lan}\n')
    argv = [sys.executable, "-m", "upnp_gw", "page", "--config", str(config)]
    argv += ["--runtime-dir", str(tmp_path / "run"), "--page-dir", str(tmp_path / "page")]
    with served(tmp_path / "run"), subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        line = page.stdout.readline()
        assert f"http://127.0.0.1:{listen}/" in line
        with closing(http.client.HTTPConnection("127.0.0.1", listen, timeout=10)) as connection:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200
            assert b"100.64.3.4" in answer.read()
        page.send_signal(signal.SIGTERM)
        assert page.wait(10) == 0
