"""Questions: the requests that wait, and the operator's answers."""

from collections.abc import Mapping

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import ControlClient, Declined
from upnp_gw.page.forms import UNLIMITED, WrongField, fields_of, time_of
from upnp_gw.page.readings import Readings
from upnp_gw.page.rendering import Texts
from upnp_gw.page.sessions import Notice
from upnp_gw.page.views import View

USUAL = "usual"
"""The time that the rule says, else 30 days."""


class QuestionPages:
    def __init__(self, client: ControlClient, readings: Readings, texts: Texts) -> None:
        self._client = client
        self._readings = readings
        self._texts = texts

    async def all(self, _: web.Request) -> View:
        return View("questions.html", {"questions": await self._readings.questions()})

    async def approve_form(self, request: web.Request) -> View:
        return await self._form(request, "approve")

    async def deny_form(self, request: web.Request) -> View:
        return await self._form(request, "deny")

    async def _form(self, request: web.Request, action: str) -> View:
        number = request.match_info["number"]
        question = await self._question(number)
        fields = {"for": USUAL if action == "approve" else UNLIMITED, "remember": ""} | fields_of(
            dict(request.query)
        )
        written: api.Written | None = None
        wrong = ""
        try:
            if action == "approve":
                written = await self._client.approve(number, {"for_s": approval_s(fields), "preview": True})
            elif fields["remember"]:
                body = {"remember": True, "for_s": time_of(fields), "preview": True}
                written = await self._client.deny(number, body)
        except Declined as error:
            wrong = error.problem.message
        except WrongField as error:
            wrong = str(error)
        return View(
            "question_answer.html",
            {"question": question, "action": action, "fields": fields, "written": written, "wrong": wrong},
        )

    async def _question(self, number: str) -> api.Question:
        """Raises Declined if it was answered or has changed: with the sentence of the daemon."""
        questions = await self._client.questions()
        found = next((question for question in questions if str(question.number) == number), None)
        if found is None:
            await self._client.approve(number, {"preview": True})
            raise Declined(404, api.Problem(error="not-found", message="this question is not open any more"))
        return found

    async def approve(self, request: web.Request, fields: Mapping[str, str]) -> tuple[str, Notice]:
        approved = await self._client.approve(request.match_info["number"], {"for_s": approval_s(fields)})
        if approved.opened is not None:
            return f"/mappings/{approved.opened.id}", Notice("good", self._texts("done.approved"), approved.toml)
        why = self._texts("done.not_yet", why=approved.why_not or "")
        return "/questions", Notice("good", why, approved.toml)

    async def deny(self, request: web.Request, fields: Mapping[str, str]) -> tuple[str, Notice]:
        remember = bool(fields.get("remember"))
        body = {"remember": remember, "for_s": time_of(fields) if remember else None}
        written = await self._client.deny(request.match_info["number"], body)
        key = "done.denied_remembered" if remember else "done.denied"
        return "/questions", Notice("good", self._texts(key), written.toml)


def approval_s(fields: Mapping[str, str]) -> int | None:
    """None: the usual time. Raises WrongField."""
    return None if fields.get("for", USUAL) == USUAL else time_of(fields)
