"""The gateway's identity for clients, stored so that it survives restarts: UUID, URL token, BOOTID."""

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
    """The gateway's UUID and URL token, kept in the state directory (IGD-007, SR-10)."""

    def __init__(self, store: Store, uuid: UUID, token: str, last_boot_id: int, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall
        self.uuid = uuid
        self.token = token
        self._boot_id = last_boot_id
        self._writes = BackgroundTasks()

    @classmethod
    async def load(cls, store: Store, wall: Callable[[], float] = time.time) -> "Identity":
        """Reads the stored values, and makes new ones for missing or malformed ones. ``wall``: seconds since 1970.
        Raises StoreError."""
        uuid = await _stored(store, "uuid", UUID)
        if uuid is None:
            uuid = uuid4()
            await store.set("uuid", str(uuid))
        token = await _stored(store, "token", _token)
        if token is None:
            token = secrets.token_hex(TOKEN_BYTES)
            await store.set("token", token)
        return cls(store, uuid, token, await _stored(store, "boot-id", int) or 0, wall)

    def next_boot_id(self) -> int:
        """Returns a BOOTID greater than every earlier one, and begins to store it."""
        self._boot_id = next_boot_id(self._boot_id, self._wall())
        self._writes.spawn(self._store_boot_id())
        return self._boot_id

    async def _store_boot_id(self) -> None:
        try:
            await self._store.set("boot-id", str(self._boot_id))
        except StoreError as error:  # the next BOOTID is at least the wall clock, so it is greater even so
            log.warning("cannot store BOOTID %d: %s", self._boot_id, error)

    async def settled(self) -> None:
        """Returns when every value is stored."""
        await self._writes.wait()


async def _stored(store: Store, key: str, parse: Callable[[str], T]) -> T | None:
    """The value of this key; None: it is missing, or malformed, which is logged."""
    text = await store.get(key)
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError:
        log.warning("the stored %s is malformed (%.40r): a new one was made", key, text)
        return None


def _token(text: str) -> str:
    if len(bytes.fromhex(text)) != TOKEN_BYTES:
        raise ValueError(text)
    return text
