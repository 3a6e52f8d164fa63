"""Policies by hash: the store keeps the text of each one for as long as decisions refer to it.

A policy is kept as its two files were, and is built again when somebody asks why an old decision came out so.
Requests never wait for this.
"""

import asyncio
import json
import logging
import zlib
from collections.abc import Iterable

from upnp_gw.gate.address_lists import LoadedLists
from upnp_gw.gate.build import ManagedPolicy, build_policy
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.load import LARGEST, LoadedPolicy
from upnp_gw.gate.remote import AddressSet
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import ConfigError, StoreError
from upnp_gw.store.store import Store
from upnp_gw.text.toml import parse_tables

log = logging.getLogger(__name__)

NOT_KEPT = "the policy of that time is no longer kept: this is the record of that decision"
OTHER_VERSION = "another version of upnp-gw decided this: this is the record of that decision"
OTHER_LISTS = "an address list of that policy has changed since: this is the record of that decision"
LARGEST_BODY = 4 * LARGEST
"""Bytes of an uncompressed body: two files, in JSON. A longer one was not written by the gateway: a megabyte of
zlib can expand to a gigabyte."""


class NotKept(Exception):
    """The policy cannot be had any more. The text says why."""


class KeptPolicies:
    """The policies in the store. A disk failure is logged; the policy comes into force all the same."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._one = asyncio.Lock()
        self._in_force: str | None = None
        """The policy in force, if it is kept."""
        self._just_kept = frozenset[str]()

    async def keep(self, *policies: LoadedPolicy) -> None:
        """Before they decide."""
        for loaded in policies:
            digest = loaded.policy.digest
            if digest == self._in_force:
                continue
            try:
                await self._store.keep_policy(digest, await asyncio.to_thread(packed, loaded))
                self._just_kept |= {digest}
            except StoreError as error:
                log.warning("policy %s is not kept, so explain cannot show its rules later: %s", digest, error)

    async def in_force(self, digest: str, newest: int) -> None:
        """This policy alone decides from now on. ``newest``: the number of the newest decision."""
        self._in_force = digest if digest in self._just_kept | {self._in_force} else None
        self._just_kept = frozenset()
        try:
            await self._store.policy_in_force(digest, newest)
        except StoreError as error:
            log.warning("policies that no decision refers to stay in the store: %s", error)

    async def find(self, digest: str, sets: Iterable[AddressSet] = ()) -> Policy:
        """The policy of this hash. ``sets``: the present address lists; those of that time are not kept. Raises
        NotKept, StoreError."""
        body = await self._store.policy(digest)
        if body is None:
            raise NotKept(NOT_KEPT)
        async with self._one:  # thousands of rules take seconds
            return await asyncio.to_thread(unpacked, digest, body, tuple(sets))


def packed(loaded: LoadedPolicy) -> bytes:
    """All that the policy was built from, compressed."""
    body = {"text": loaded.text, "approved": loaded.approved, "ended": sorted(loaded.ended)}
    return zlib.compress(json.dumps(body, ensure_ascii=False).encode("utf-8"), 9)


def unpacked(digest: str, body: bytes, sets: Iterable[AddressSet] = ()) -> Policy:
    """The policy of this hash. Raises NotKept where its text has another meaning, or none, in this version."""
    try:
        kept = json.loads(_expanded(body))
        added = (
            ManagedPolicy(parse_tables(kept["approved"], ""), "", frozenset(kept["ended"]))
            if kept["approved"]
            else None
        )
        tables = parse_tables(kept["text"], "")
        if not tables.keys() & {"set"}:
            sets = ()
        elif not sets:
            raise NotKept(OTHER_LISTS)
        policy = with_indexes(build_policy(tables, "", added, LoadedLists(sets)))
    except (ConfigError, ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
        raise NotKept(OTHER_VERSION) from error
    if policy.digest != digest:
        raise NotKept(OTHER_LISTS if policy.sets else OTHER_VERSION)
    return policy


def texts_of(body: bytes) -> tuple[str, str]:
    """The two files of a kept policy. Raises NotKept for a body that no version has written."""
    try:
        kept = json.loads(_expanded(body))
        return str(kept["text"]), str(kept["approved"])
    except (ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
        raise NotKept(OTHER_VERSION) from error


def _expanded(body: bytes) -> bytes:
    """The uncompressed body. Raises zlib.error, also if it has more than LARGEST_BODY bytes."""
    expander = zlib.decompressobj()
    data = expander.decompress(body, LARGEST_BODY)
    if not expander.eof:
        raise zlib.error("cut short, or too long")
    return data
