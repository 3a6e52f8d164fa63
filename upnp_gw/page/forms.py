"""Forms: what they send, and times that people choose from.

A form with parameters shows with GET what would be written, and changes it with POST: it works without JavaScript.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from aiohttp import web

from upnp_gw.control_client import Declined, Unreachable
from upnp_gw.page.request_checks import form_of, see_other
from upnp_gw.page.serving import problem_view
from upnp_gw.page.sessions import Notice, Session
from upnp_gw.page.sign_in import SESSION
from upnp_gw.page.views import View

TIMES = {"1h": 3600, "4h": 4 * 3600, "1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
"""Value of a choice -> seconds."""
UNLIMITED = ""
LONGEST_FIELD = 300

Act = Callable[[web.Request, Mapping[str, str]], Awaitable[tuple[str, Notice]]]
"""Changes something; gives the next page, and the notice on it. Raises Declined, Unreachable, WrongField."""


class WrongField(Exception):
    """A field with something else than is accepted. The text is one sentence."""


def path(*parts: str) -> str:
    """A path of the page; each part may have any character."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def fields_of(values: Mapping[str, object]) -> dict[str, str]:
    """The fields of a query or a form, without spaces around and what is not printable; files and long texts are
    left out."""
    return {
        name: printable(value)
        for name, value in values.items()
        if isinstance(value, str) and len(value) <= LONGEST_FIELD and name != "form_token"
    }


def printable(text: str) -> str:
    return "".join(filter(str.isprintable, text)).strip()


def time_of(fields: Mapping[str, str], default: str = UNLIMITED) -> int | None:
    """The seconds that were chosen; None: no end. Raises WrongField."""
    chosen = fields.get("for", default)
    if chosen == UNLIMITED:
        return None
    if chosen not in TIMES:
        raise WrongField("Choose one of the times.")
    return TIMES[chosen]


def ports_of(text: str) -> list[int | str] | None:
    """``443, 8000-8010`` -> ports and ranges; None: none given. Raises WrongField."""
    words = re.split(r"[\s,;]+", text.replace("–", "-").strip())
    found: list[int | str] = []
    for word in filter(None, words):
        if not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", word):
            raise WrongField("A port is a number from 1 to 65535, a range such as 8000-8010.")
        found.append(int(word) if word.isdigit() else word)
    return found or None


def add_action(
    application: web.Application, route: str, act: Act, serve_problem: Callable[..., Awaitable[web.Response]]
) -> None:
    """Serves POST of a form: acts, and leads to a page that tells the result."""

    async def post(request: web.Request) -> web.StreamResponse:
        session: Session = request[SESSION]
        try:
            to, notice = await act(request, fields_of(dict(await form_of(request))))
        except WrongField as error:
            return await serve_problem(
                request, View("problem.html", {"problem": str(error), "kind": "declined"}, 400)
            )
        except (Declined, Unreachable) as error:
            return await serve_problem(request, problem_view(error))
        session.tell(notice)
        return see_other(to)

    application.router.add_post(route, post)
