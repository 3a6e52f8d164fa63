"""``upnp-gw page`` as a process beside the daemon of a home, and requests to it from hosts of the lab."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fixtures.waiting import until
from tests.lab.end_to_end import Home
from upnp_gw.cli.page import PageClient
from upnp_gw.lab import Host
from upnp_gw.lab.daemon import COMMAND

LAN_PORT, OPERATOR_PORT = 5080, 5081
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    location: str
    text: str


@dataclass
class PageProcess:
    """A page that runs on the gateway."""

    home: Home
    directory: Path

    def link(self) -> str:
        """A sign-in link, as ``upnp-gw open`` prints it."""
        url: str = json.loads(PageClient(self.directory).request("POST", "/link"))["url"]
        return url


@contextmanager
def page_process(home: Home, directory: Path, text: str = "") -> Iterator[PageProcess]:
    """``text``: of ``[page]``."""
    config = directory / "page.toml"
    config.write_text(f"[page]\n{text}\n")
    own = directory / "page"
    argv = [*COMMAND, "page", "--config", str(config)]
    argv += ["--runtime-dir", str(home.daemon.runtime_dir), "--page-dir", str(own)]
    process = home.gateway.popen(argv, env={"PYTHONUNBUFFERED": "1"})
    try:
        assert until((own / "page.sock").exists), "the page did not start"
        yield PageProcess(home, own)
    finally:
        home.gateway.stop(process)


def fetched(host: Host, address: object, port: int, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """The answer that a host gets. Raises OSError."""

    def fetch() -> Answer:
        with closing(http.client.HTTPConnection(str(address), port, timeout=ANSWER_S)) as connection:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheader("Location", ""), answer.read().decode())

    return host.call(fetch)


def lan_answers(page: PageProcess, host: Host) -> Any:
    """Waits until the page listens on the LAN."""
    gateway = page.home.gateway.address

    def answers() -> bool:
        try:
            return fetched(host, gateway, LAN_PORT).status > 0
        except OSError:
            return False

    assert until(answers), "the page does not listen on the LAN"
