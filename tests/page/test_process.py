"""The page as a process of its own: it starts, asks the daemon, signs in by a link of the command, and stops."""

import http.client
import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from tests.fixtures.fake_operator import served
from tests.fixtures.page_home import free_port
from upnp_gw.cli.page import PageClient


def test_it_serves_what_the_daemon_says_and_stops(tmp_path: Path) -> None:
    listen, lan = free_port(), free_port()
    config = tmp_path / "gw.toml"
    config.write_text(f'[page]\nlisten = "127.0.0.1:{listen}"\nport = {lan}\n')
    argv = [sys.executable, "-m", "upnp_gw", "page", "--config", str(config)]
    argv += ["--runtime-dir", str(tmp_path / "run"), "--page-dir", str(tmp_path / "page")]
    with served(tmp_path / "run"), subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        line = page.stdout.readline()
        assert f"http://127.0.0.1:{listen} (for the LAN port {lan})" in line
        link = json.loads(PageClient(tmp_path / "page").request("POST", "/link"))["url"]
        path = urlsplit(link).path
        with closing(http.client.HTTPConnection("127.0.0.1", listen, timeout=10)) as connection:
            connection.request("POST", "/sign-in", f"secret={path.rpartition('/')[2]}", {"Content-Type": FORM})
            answer = connection.getresponse()
            answer.read()
            cookie = str(answer.getheader("Set-Cookie")).partition(";")[0]
            connection.request("GET", "/", headers={"Cookie": cookie})
            answer = connection.getresponse()
            assert answer.status == 200
            assert b"100.64.3.4" in answer.read()
        page.send_signal(signal.SIGTERM)
        assert page.wait(10) == 0


FORM = "application/x-www-form-urlencoded"
