"""A file as an answer of the control socket: the backup of a running gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from tests.fixtures.backups import RULES, make_state, members
from tests.fixtures.fake_operator import FakeOperator
from tests.fixtures.mapping_rows import NOW
from upnp_gw import api
from upnp_gw.backup.manifest import APPROVED, CONFIG, LEDGER, MANIFEST, POLICY
from upnp_gw.control.backup import MEDIA, BackupCommands
from upnp_gw.control.server import ControlServer
from upnp_gw.control.socket_path import SOCKET_NAME
from upnp_gw.gate.load import load_text


class Written:
    """The parts of the daemon that a backup asks; ``order``: what was asked, in order."""

    def __init__(self, state: Path, operator: Path | None) -> None:
        self.order: list[str] = []
        self.config = SimpleNamespace(state_dir=state, text="[lan]\n")
        self.evidence = SimpleNamespace(flush=self._note("flush"))
        self.gateway = SimpleNamespace(remember=self._note("remember"))
        self.decider = SimpleNamespace(environment=SimpleNamespace(clock=lambda: NOW))
        self.policy_updates = SimpleNamespace(standing=self._standing, files=SimpleNamespace(operator=operator))

    def _note(self, word: str) -> Any:
        async def noted() -> None:
            self.order.append(word)

        return noted

    @asynccontextmanager
    async def _standing(self) -> AsyncIterator[SimpleNamespace]:
        self.order.append("policy held")
        yield SimpleNamespace(approved=RULES, text="version = 1\n", policy=load_text)
        self.order.append("policy free")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    loop = asyncio.new_event_loop()
    loop.close()
    return make_state(tmp_path / "state")


@asynccontextmanager
async def served(parts: Written, directory: Path) -> AsyncIterator[aiohttp.ClientSession]:
    commands = BackupCommands(parts)  # type: ignore[arg-type]
    server = ControlServer(FakeOperator(), directory, more=[commands])
    await server.start()
    connector = aiohttp.UnixConnector(str(directory / SOCKET_NAME))
    async with aiohttp.ClientSession(base_url="http://localhost", connector=connector) as client:
        yield client
    await server.close()


@pytest.mark.parametrize("operator", [None, Path("/policy.toml")])
def test_it_has_the_state_on_disk_and_the_policy_in_force(
    state: Path, tmp_path: Path, operator: Path | None
) -> None:
    parts = Written(state, operator)

    async def ask() -> None:
        async with served(parts, tmp_path / "run") as client, client.get("/v1/backup?history=false") as answer:
            assert (answer.status, answer.content_type) == (200, MEDIA)
            data = await answer.read()
            assert answer.content_length == len(data)
            found = members(data)
            wanted = [MANIFEST, LEDGER, APPROVED, *([POLICY] if operator else []), CONFIG]
            assert list(found) == wanted
            assert json.loads(found[MANIFEST])["history"] is False
            assert found[APPROVED].decode() == RULES

    asyncio.run(ask())
    assert parts.order == ["policy held", "flush", "remember", "policy free"]
    assert not list(state.glob("*.backup-*"))


def test_a_failure_is_an_answer_and_a_wrong_query_too(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(Written(tmp_path / "missing", None), tmp_path / "run") as client:
            async with client.get("/v1/backup") as answer:
                problem = await answer.json()
                assert (answer.status, problem["error"]) == (503, "backend-failed")
                assert "there is no ledger" in problem["message"]
            async with client.get("/v1/backup?history=x") as answer:
                assert (answer.status, (await answer.json())["field"]) == (400, "history")

    asyncio.run(ask())


def test_a_reader_that_leaves_early_leaves_no_copy(state: Path, tmp_path: Path) -> None:
    (state / APPROVED).write_text("")
    parts = Written(state, None)
    parts.config.text = "#" * (8 << 20)

    async def ask() -> None:
        async with served(parts, tmp_path / "run") as client:
            answer = await client.get("/v1/backup")
            await answer.content.readexactly(1000)
            answer.close()
            async with client.get("/v1/status") as status:
                assert status.status == 200

    asyncio.run(ask())
    assert not list(state.glob("*.backup-*"))


def test_no_token_of_the_page_gets_it() -> None:
    assert [name for name, route in api.ROUTES.items() if route.local] == ["take_over", "backup", "erase"]
