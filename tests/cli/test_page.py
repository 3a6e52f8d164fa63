"""``open`` and ``token`` against the page's own socket."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.cli.conftest import Run
from upnp_gw.page.local_socket import LocalSocket
from upnp_gw.page.sessions import Links, Sessions
from upnp_gw.page.tokens import Tokens


class Served:
    """The socket of a page, on a loop of another thread: the command line blocks."""

    def __init__(self, directory: Path) -> None:
        self.links, self.sessions, self.tokens = Links(lambda: 0.0), Sessions(lambda: 0.0), Tokens(directory)
        self.local = LocalSocket(directory, "http://127.0.0.1:5081", self.links, self.sessions, self.tokens)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("UPNP_GW_PAGE_DIR", str(tmp_path / "page"))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    served = Served(tmp_path / "page")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(10)  # type: ignore[arg-type]

    runner = web.AppRunner(served.local.application(), access_log=None)

    async def start() -> None:
        await runner.setup()
        await web.SockSite(runner, served.local.bind(tmp_path / "no-control.sock")).start()

    run(start())
    try:
        yield served
    finally:
        run(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_open_prints_a_link_that_is_good_once(page: Served, upnp_gw: Run) -> None:
    answer = upnp_gw("open")
    assert answer.exit_code == 0
    url = answer.stdout.strip()
    assert url.startswith("http://127.0.0.1:5081/sign-in/")
    assert "good once, for 5m" in answer.stderr
    assert page.links.use(url.rpartition("/")[2])
    assert json.loads(upnp_gw("open", "--json").stdout)["good_s"] == 300
    page.sessions.begin()
    assert "1 session ended" in upnp_gw("open", "--end-all").output
    assert len(page.sessions) == 0


def test_only_its_owner_may_use_the_socket(page: Served) -> None:
    assert page.local.path.stat().st_mode & 0o777 == 0o600


def test_tokens_are_made_listed_and_revoked(page: Served, upnp_gw: Run) -> None:
    assert "no tokens" in upnp_gw("token", "list").output
    secret = upnp_gw("token", "create", "lights", "--acts", "--for", "1h").output.strip()
    token = page.tokens.check(secret)
    assert token is not None
    assert token.acts
    assert "lights: acts, made" in upnp_gw("token", "list").output
    twice = upnp_gw("token", "create", "lights")
    assert twice.exit_code == 1
    assert "revoke it first" in twice.output
    assert "revoked: lights" in upnp_gw("token", "revoke", "lights").output
    assert page.tokens.check(secret) is None
    missing = upnp_gw("token", "revoke", "lights")
    assert (missing.exit_code, "there is no token lights" in missing.output) == (1, True)
    assert upnp_gw("token", "create", "a b").exit_code == 1


def test_without_a_page_it_says_which_program_does_not_run(
    upnp_gw: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPNP_GW_PAGE_DIR", str(tmp_path))
    answer = upnp_gw("open")
    assert answer.exit_code == 3
    assert "upnp-gw page is not running" in answer.output
    assert "another --page-dir?" in answer.output


def test_a_mistake_in_the_configuration_stops_the_page(upnp_gw: Run, tmp_path: Path) -> None:
    config = tmp_path / "gw.toml"
    config.write_text("[page]\nport = 5081\n")
    answer = upnp_gw("page", "--config", str(config))
    assert answer.exit_code == 2
    assert "page.port" in answer.output
