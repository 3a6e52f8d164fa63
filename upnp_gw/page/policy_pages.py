"""The policy: the file in force with its tests, what the evidence suggests, unused rules, and requests to try.

It is for reading: the file is the operator's. The tests run here and not in the daemon.
"""

import asyncio
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import ControlClient, Declined
from upnp_gw.gate.file_tests import CaseResult
from upnp_gw.gate.list_files import ListFiles
from upnp_gw.gate.load import check_text
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.page.forms import fields_of
from upnp_gw.page.views import View

TRIAL_FIELDS = ("who", "via", "transport", "internal_port", "external_port", "remote_host")
LINES_AROUND = 3


@dataclass(frozen=True, slots=True)
class TestsOfPolicy:
    """The results of the ``[[test]]`` blocks of a text; ``problem``: why there are none."""

    results: tuple[CaseResult, ...] = ()
    problem: str = ""

    @property
    def failed(self) -> int:
        return sum(not result.passed for result in self.results)


class PolicyPages:
    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._tested: tuple[str, TestsOfPolicy] = ("", TestsOfPolicy())

    async def in_force(self, _: web.Request) -> View:
        policy = await self._client.policy()
        return View("policy.html", {"policy": policy, "tests": await self._tests(policy)})

    async def _tests(self, policy: api.PolicyText) -> TestsOfPolicy:
        if self._tested[0] != policy.text:
            self._tested = policy.text, await asyncio.to_thread(run_tests, policy.text, policy.source)
        return self._tested[1]

    async def suggestion(self, _: web.Request) -> View:
        policy, suggestion = await asyncio.gather(self._client.policy(), self._client.suggest())
        return View(
            "policy_suggest.html", {"suggestion": suggestion, "lines": list(changes(policy.text, suggestion.toml))}
        )

    async def stale(self, request: web.Request) -> View:
        days = request.query.get("days", "30")
        days = days if days in ("7", "30", "90", "180") else "30"
        return View("policy_stale.html", {"stale": await self._client.stale(int(days)), "days": days})

    async def trial(self, request: web.Request) -> View:
        fields = dict.fromkeys(TRIAL_FIELDS, "") | {"via": Via.IGD1.value, "transport": Transport.TCP.value}
        fields |= fields_of(dict(request.query))
        explained: api.Explained | None = None
        wrong = ""
        if fields["who"] and fields["internal_port"]:
            try:
                explained = await self._client.trial(trial_body(fields))
            except Declined as error:
                wrong = error.problem.message
        return View(
            "policy_try.html",
            {
                "fields": fields,
                "explained": explained,
                "wrong": wrong,
                "vias": [via.value for via in Via if via is not Via.OPERATOR],
                "transports": [transport.value for transport in Transport],
            },
        )


def run_tests(text: str, source: str) -> TestsOfPolicy:
    """Runs all tests of a policy file; thousands of rules take a second."""
    try:
        lists = ListFiles(Path(source).parent)
        return TestsOfPolicy(check_text(text, source, datetime.now().astimezone().date(), lists).results)
    except ConfigError as error:
        return TestsOfPolicy(problem=str(error))


def changes(before: str, after: str) -> Iterator[tuple[str, str]]:
    """The lines of a difference: ("added" | "removed" | "same" | "gap", line)."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=LINES_AROUND, lineterm="")
    kinds = {"+": "added", "-": "removed", " ": "same", "@": "gap"}
    for line in lines:
        if not line.startswith(("---", "+++")):
            yield kinds.get(line[:1], "same"), "" if line.startswith("@") else line[1:]


def trial_body(fields: Mapping[str, str]) -> dict[str, object]:
    """The body of ``trial``. Numbers that are none stay texts: the daemon says what it accepts."""

    def number(text: str) -> object:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else text or None

    who = fields["who"]
    address = (":" in who and who.count(":") != 5) or who.replace(".", "").isdigit()
    return {
        "address" if address else "device": who,
        "via": fields["via"],
        "transport": fields["transport"],
        "internal_port": number(fields["internal_port"]),
        "external_port": number(fields["external_port"]),
        "remote_host": fields["remote_host"] or None,
    }
