"""The operation ``erase``: what the gateway keeps of a device, or of all."""

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path

from upnp_gw import api
from upnp_gw.backup.placing import kept_files
from upnp_gw.control.on_demand import DaemonParts
from upnp_gw.control.targets import Targets
from upnp_gw.engine.erasure import ErasedRows, Erasure
from upnp_gw.gate.managed_file import KINDS
from upnp_gw.model.errors import StoreError

NOTHING = ErasedRows(0, 0, 0, 0)


class EraseCommands:
    """``targets``: as for the commands that change rules, so that both mean the same device."""

    def __init__(self, parts: DaemonParts, targets: Targets) -> None:
        self._decider = parts.decider
        self._targets = targets
        self._state_dir = parts.config.state_dir
        self._erasure = Erasure(parts.decider, parts.gateway, parts.evidence, parts.store)

    async def erase(self, body: api.Erase) -> api.Erased | api.Problem:
        devices: Collection[str] = ()
        name: str | None = None
        try:
            if body.device is not None:
                target = await self._targets.find(body.device)
                if isinstance(target, api.Problem):
                    return target
                devices, name = target.devices, target.name
                rows = await self._erasure.erase(devices)
            elif body.everything:
                rows = await self._erasure.erase_all()
            else:
                await self._erasure.overwrite_deleted()
                rows = NOTHING
            copies = await asyncio.to_thread(_copies, self._state_dir, body.copies)
        except StoreError as error:
            return api.Problem(error="backend-failed", message=f"not all of it is erased: {error}")
        table, history = self._decider.ledger.table, self._decider.history
        open_incidents = {incident.device for incident in history.incidents(self._decider.environment.clock())}
        return api.Erased(
            decisions=rows.decisions,
            openings=rows.openings,
            questions=rows.questions,
            kept_decisions=rows.kept_decisions,
            mappings=[mapping.id for device in devices for mapping in table.of_device(device)],
            incident=not open_incidents.isdisjoint(devices),
            names=sorted({f"device {name}", *self._rules(name)}) if name is not None else [],
            copies=[str(path) for path in copies],
        )

    def _rules(self, name: str) -> Iterator[str]:
        """The rules of approved.toml for this device."""
        approved = self._decider.in_force.approved
        for kind in KINDS:
            for rule in approved.get(kind, ()):
                if name in (rule.get("who"), *(rule["who"] if isinstance(rule.get("who"), list) else ())):
                    yield f"{kind} {rule['name']}"


def _copies(state_dir: Path, delete: bool) -> list[Path]:
    """The files with older copies of the state, after the deletion. Raises StoreError."""
    copies = kept_files(state_dir)
    if not delete:
        return copies
    try:
        for copy in copies:
            copy.unlink()
    except OSError as error:
        raise StoreError(f"an older copy cannot be deleted: {error}") from error
    return []
