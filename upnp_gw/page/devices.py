"""Devices: the list, one device, and what the operator can do with it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import ControlClient, Declined
from upnp_gw.page.forms import WrongField, fields_of, path, ports_of, printable, time_of
from upnp_gw.page.readings import Readings
from upnp_gw.page.rendering import Texts
from upnp_gw.page.sessions import Notice
from upnp_gw.page.views import View

DECISIONS_SHOWN = 12
MAPPINGS_SHOWN = 50
ROWS = 50


class DevicePages:
    """The pages that show devices."""

    def __init__(self, client: ControlClient, readings: Readings) -> None:
        self._client = client
        self._readings = readings

    async def all(self, request: web.Request) -> View:
        devices = await self._readings.devices()
        words = printable(request.query.get("find", "")[:100]).lower()
        found = [device for device in devices if words in words_of(device)]
        found.sort(key=lambda device: (not device.frozen, -device.holds, -device.last_seen.timestamp()))
        page, pages = page_of(request, len(found))
        rows = found[(page - 1) * ROWS : page * ROWS]
        return View(
            "devices.html",
            {"devices": rows, "count": len(found), "find": words, "page": page, "pages": pages, "path": "/devices"},
        )

    async def one(self, request: web.Request) -> View:
        name = request.match_info["device"]
        known = await self._client.known(name)
        devices, mappings, incidents, decisions = await asyncio.gather(
            self._readings.devices(),
            self._readings.mappings(),
            self._readings.incidents(),
            self._client.decisions(device=known.device, limit=DECISIONS_SHOWN, unchanged=False),
        )
        held = [mapping for mapping in mappings if mapping.device == known.device]
        return View(
            "device.html",
            {
                "known": known,
                "device": next((device for device in devices if device.device == known.device), None),
                "held": held[:MAPPINGS_SHOWN],
                "held_count": len(held),
                "decisions": decisions,
                "incident": next((i for i in incidents if i.device == known.device), None),
                "blocked": any(rule.kind == "forbid" and rule.name.startswith("block-") for rule in known.rules),
            },
        )


def words_of(device: api.Device) -> str:
    """The text that a search looks through."""
    return " ".join([device.device, device.name or "", device.dhcp_name or "", *device.addresses]).lower()


def page_of(request: web.Request, count: int, rows: int = ROWS) -> tuple[int, int]:
    """The page of a list that is asked for, and the number of pages."""
    text = request.query.get("page", "1")
    pages = max(1, -(-count // rows))
    return (min(max(1, int(text)), pages) if text.isascii() and text.isdigit() and len(text) < 7 else 1), pages


class DeviceActions:
    """The forms of a device: each shows the rules that it would write before it writes them."""

    def __init__(self, client: ControlClient, texts: Texts) -> None:
        self._client = client
        self._texts = texts

    async def _form(
        self, request: web.Request, action: str, body: Mapping[str, object] | None, wrong: str = ""
    ) -> View:
        device = request.match_info["device"]
        known = await self._client.known(device)
        written: Any = None
        if body is not None and not wrong:
            try:
                written = await self._preview(action, device, body)
            except Declined as error:
                wrong = error.problem.message
        return View(
            "device_action.html",
            {
                "known": known,
                "action": action,
                "fields": {"name": "", "ports": "", "transport": "", "for": ""} | fields_of(dict(request.query)),
                "written": written,
                "wrong": wrong,
            },
        )

    async def _preview(self, action: str, device: str, body: Mapping[str, object]) -> api.Written | api.Released:
        if action == "release":
            return await self._client.release(device, preview=True)
        change = {"name": self._client.name, "allow": self._client.allow, "block": self._client.block}[action]
        return await change(device, {**body, "preview": True})

    # -- name

    async def name_form(self, request: web.Request) -> View:
        name = fields_of(dict(request.query)).get("name")
        return await self._form(request, "name", {"name": name} if name else None)

    async def name(self, request: web.Request, fields: Mapping[str, str]) -> tuple[str, Notice]:
        device = request.match_info["device"]
        written = await self._client.name(device, {"name": fields.get("name", "")})
        return path("devices", device), self._notice("named", written.toml)

    # -- allow

    async def allow_form(self, request: web.Request) -> View:
        try:
            body = allow_body(fields_of(dict(request.query)))
        except WrongField as error:
            return await self._form(request, "allow", None, str(error))
        return await self._form(request, "allow", body)

    async def allow(self, request: web.Request, fields: Mapping[str, str]) -> tuple[str, Notice]:
        device = request.match_info["device"]
        written = await self._client.allow(device, allow_body(fields))
        return path("devices", device), self._notice("allowed", written.toml)

    # -- block, release, revoke

    async def block_form(self, request: web.Request) -> View:
        try:
            body = {"for_s": time_of(fields_of(dict(request.query)))}
        except WrongField as error:
            return await self._form(request, "block", None, str(error))
        return await self._form(request, "block", body)

    async def block(self, request: web.Request, fields: Mapping[str, str]) -> tuple[str, Notice]:
        device = request.match_info["device"]
        blocked = await self._client.block(device, {"for_s": time_of(fields)})
        return path("devices", device), self._notice("blocked", blocked.toml, len(blocked.closed))

    async def release_form(self, request: web.Request) -> View:
        return await self._form(request, "release", {})

    async def release(self, request: web.Request, _: Mapping[str, str]) -> tuple[str, Notice]:
        device = request.match_info["device"]
        released = await self._client.release(device)
        return path("devices", device), self._notice("released", released.removed)

    async def revoke_form(self, request: web.Request) -> View:
        return await self._form(request, "revoke", None)

    async def revoke(self, request: web.Request, _: Mapping[str, str]) -> tuple[str, Notice]:
        device = request.match_info["device"]
        revoked = await self._client.revoke(device)
        return path("devices", device), self._notice("revoked", "", len(revoked.mappings))

    # -- a rule that a command wrote

    async def retract_form(self, request: web.Request) -> View:
        rule = request.match_info["rule"]
        written = await self._client.retract(rule, preview=True)
        return View("retract.html", {"rule": rule, "written": written})

    async def retract(self, request: web.Request, _: Mapping[str, str]) -> tuple[str, Notice]:
        written = await self._client.retract(request.match_info["rule"])
        return "/policy", self._notice("retracted", written.toml, len(written.closed))

    def _notice(self, key: str, toml: str, closed: int = 0) -> Notice:
        text = self._texts(f"done.{key}")
        return Notice("good", f"{text} {self._texts.count('done.closed', closed)}" if closed else text, toml)


def allow_body(fields: Mapping[str, str]) -> dict[str, object]:
    """The body of ``allow``. Raises WrongField."""
    transport = fields.get("transport", "")
    if transport not in ("", "tcp", "udp"):
        raise WrongField("The transport is TCP, UDP, or both.")
    return {
        "ports": ports_of(fields.get("ports", "")),
        "transports": [transport] if transport else None,
        "for_s": time_of(fields),
    }
