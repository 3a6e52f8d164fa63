"""What clients recognise the gateway by over restarts: UUID, URL token, BOOTID. Kept in the store."""

import logging
import secrets
import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID, uuid4

from upnp_gw.model.errors import StoreError
from upnp_gw.protocols.ssdp import next_boot_id
from upnp_gw.store.store import Store
from upnp_gw.system.tasks import BackgroundTasks

log = logging.getLogger(__name__)

TOKEN_BYTES = 8
T = TypeVar("T")


class Identity:
    """What clients recognise the gateway by, kept in the store: UUID, URL token, BOOTID."""

    def __init__(self, store: Store, uuid: UUID, token: str, last_boot_id: int) -> None:
        self._store = store
        self.uuid = uuid
        self.token = token
        self._boot_id = last_boot_id
        self._writes = BackgroundTasks()

    @classmethod
    async def load(cls, store: Store) -> "Identity":
        """The stored values; those that are not there, or make no sense, are made. Raises StoreError."""
        uuid = await _stored(store, "uuid", UUID)
        if uuid is None:
            uuid = uuid4()
            await store.set("uuid", str(uuid))
        token = await _stored(store, "token", _token)
        if token is None:
            token = secrets.token_hex(TOKEN_BYTES)
            await store.set("token", token)
        return cls(store, uuid, token, await _stored(store, "boot-id", int) or 0)

    def next_boot_id(self) -> int:
        """Greater than every earlier one, and on its way into the store."""
        self._boot_id = next_boot_id(self._boot_id, time.time())
        self._writes.spawn(self._keep())
        return self._boot_id

    async def _keep(self) -> None:
        try:
            await self._store.set("boot-id", str(self._boot_id))
        except StoreError as error:  # the next one is made from the wall clock as well
            log.warning("BOOTID %d is not in the store: %s", self._boot_id, error)

    async def settled(self) -> None:
        await self._writes.wait()


async def _stored(store: Store, key: str, made: Callable[[str], T]) -> T | None:
    """The value of this key; None: there is none, or it makes no sense, which is told."""
    text = await store.get(key)
    if text is None:
        return None
    try:
        return made(text)
    except ValueError:
        log.warning("the %s in the store makes no sense (%.40r): a new one is made", key, text)
        return None


def _token(text: str) -> str:
    if len(bytes.fromhex(text)) != TOKEN_BYTES:
        raise ValueError(text)
    return text
