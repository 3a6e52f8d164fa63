"""The first page of the operator: the gateway in one look."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import Declined, Unreachable
from upnp_gw.page.readings import DAY_REFUSALS, Reading, Readings
from upnp_gw.page.views import View

REFUSALS_SHOWN = 6
DEVICES_SHOWN = 12
QUESTIONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Holder:
    """A device with its mappings."""

    device: str
    shown: str
    ports: Sequence[api.Mapping]
    """The first ones."""
    count: int
    bytes: int


class OverviewPage:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._checking: asyncio.Task[None] | None = None

    async def __call__(self, _: web.Request) -> View:
        readings = self._readings
        status, mappings, questions, incidents, refused = await asyncio.gather(
            readings.status(),
            readings.mappings(),
            readings.questions(),
            readings.incidents(),
            readings.refused(),
        )
        holders = holders_of(mappings)
        return View(
            "overview.html",
            {
                "status": status,
                "double_nat": status.wan.address_kind in ("private", "shared")
                and any(lan.nat for lan in status.lan),
                "holders": holders[:DEVICES_SHOWN],
                "more_holders": max(0, len(holders) - DEVICES_SHOWN),
                "pinholes": sum(mapping.kind.value == "pinhole" for mapping in mappings),
                "questions": questions[:QUESTIONS_SHOWN],
                "question_count": len(questions),
                "incidents": incidents,
                # incidents have a part of their own
                "warnings": [warning for warning in status.warnings if not warning.startswith("incident: ")],
                "refused": refused[:REFUSALS_SHOWN],
                "refused_count": sum(decision.count for decision in refused),
                "refused_more": len(refused) >= DAY_REFUSALS,
                "checks": self._checks(),
            },
        )

    def _checks(self) -> list[api.Check] | None:
        """The last findings of the doctor; None: it is looking. Its checks take seconds, and no page waits."""
        doctor = self._readings.doctor
        if doctor.due and (self._checking is None or self._checking.done()):
            self._checking = asyncio.create_task(_read(doctor))
        return doctor.last


async def _read(doctor: Reading[list[api.Check]]) -> None:
    with suppress(Declined, Unreachable):  # the page says that the daemon does not answer
        await doctor()


def holders_of(mappings: Sequence[api.Mapping], ports_shown: int = 4) -> list[Holder]:
    """The devices that hold mappings, the one with the most traffic first."""
    by_device: dict[str, list[api.Mapping]] = {}
    for mapping in mappings:
        by_device.setdefault(mapping.device, []).append(mapping)
    traffic = Counter({device: sum(m.bytes for m in held) for device, held in by_device.items()})
    return [
        Holder(
            device,
            next((m.device_name for m in by_device[device] if m.device_name), device),
            sorted(by_device[device], key=lambda m: -m.bytes)[:ports_shown],
            len(by_device[device]),
            count,
        )
        for device, count in traffic.most_common()
    ]
