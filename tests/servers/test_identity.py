"""The UUID, URL token and BOOTID in the store: a value that makes no sense is replaced and logged."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from upnp_gw.servers.identity import Identity
from upnp_gw.store.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "ledger.db", "boot-1")
    await opened.open()
    yield opened
    await opened.close()


async def test_the_identity_is_the_same_after_a_restart(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    first = await Identity.load(store)
    boot = first.next_boot_id()
    await first.settled()
    again = await Identity.load(store)
    assert (again.uuid, again.token) == (first.uuid, first.token)
    assert again.next_boot_id() > boot
    await again.settled()
    assert caplog.text == ""


@pytest.mark.parametrize("value", ["", "no UUID", "\x00", "7" * 5000])
@pytest.mark.parametrize("key", ["uuid", "token", "boot-id"])
async def test_a_malformed_value_is_replaced_and_logged(
    store: Store, key: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = await Identity.load(store)
    await store.set(key, value)
    again = await Identity.load(store)
    assert again.token.isalnum()
    assert len(again.token) == len(first.token)
    assert again.next_boot_id() > 0
    await again.settled()
    assert key in caplog.text
    caplog.clear()
    assert (await Identity.load(store)).uuid == again.uuid
    assert caplog.text == ""
