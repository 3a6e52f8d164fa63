"""The operation ``backup``: the state of the running gateway as one file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from upnp_gw import api
from upnp_gw.backup.making import Backup, backup_of
from upnp_gw.backup.manifest import APPROVED, CONFIG, LEDGER, POLICY
from upnp_gw.control.download import Download
from upnp_gw.control.on_demand import DaemonParts

MEDIA = "application/x-tar"


class BackupCommands:
    """One backup at a time."""

    def __init__(self, parts: DaemonParts) -> None:
        self._parts = parts
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def backup(self, query: api.BackupQuery) -> AsyncIterator[Download]:
        """The policy in force, and the ledger at one moment in which no other policy came into force. The copy is
        made in a thread, and no request waits for it. Raises GatewayError."""
        parts, updates = self._parts, self._parts.policy_updates
        async with self._one:
            with ExitStack() as stack:
                async with updates.standing() as loaded:
                    await parts.evidence.flush()
                    await parts.gateway.remember()
                    texts = {APPROVED: loaded.approved, CONFIG: parts.config.text}
                    if updates.files.operator is not None:
                        texts[POLICY] = loaded.text
                    making = backup_of(
                        parts.config.state_dir / LEDGER,
                        texts,
                        query.history,
                        parts.decider.environment.clock().wall,
                    )
                    backup = await asyncio.to_thread(stack.enter_context, making)
                yield Download(MEDIA, backup.size, _portions(backup))


async def _portions(backup: Backup) -> AsyncIterator[bytes]:
    portions = backup.portions()
    while (portion := await asyncio.to_thread(next, portions, None)) is not None:
        yield portion
