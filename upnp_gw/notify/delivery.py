"""One attempt to deliver a message, and when to try again."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import aiohttp

from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.notify.messages import Message
from upnp_gw.notify.requests import post_of, read_secrets
from upnp_gw.system.files import FileProblem
from upnp_gw.text.escape import shown

ATTEMPTS = 8
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 600.0
ATTEMPT_S = 15.0
"""Seconds for one attempt, with the name's look-up and TLS."""
CONNECT_S = 5.0
LONGEST_ANSWER = 2000
"""Bytes of an answer that are read."""
TRY_AGAIN = frozenset({408, 425, 429})
"""Beside 5xx."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a target."""

    sent: bool
    again: bool
    """True: another attempt can succeed."""
    sentence: str
    wait_s: float | None = None
    """The receiver asked for so many seconds."""


def wait_s(attempt: int, answer: Answer, random: Random) -> float:
    """Seconds until the next attempt: 2, 8, 32 and so on to 10 minutes, each between half and one and a half of it,
    so that many gateways do not come back at the same moment. ``attempt``: how many there were."""
    planned = min(LONGEST_WAIT_S, FIRST_WAIT_S * 4.0 ** (attempt - 1)) * random.uniform(0.5, 1.5)
    return max(planned, min(answer.wait_s or 0.0, LONGEST_WAIT_S))


class Delivery:
    """Sends to one target over its own connections."""

    def __init__(self, target: NotifyTarget, wall: Callable[[], float]) -> None:
        self._target = target
        self._wall = wall
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, message: Message) -> Answer:
        """One attempt. Never raises for what a receiver does. A redirect is refused: a message goes to the place
        that the configuration names, or nowhere. No sentence has the path of the URL."""
        try:
            post = post_of(message, self._target, read_secrets(self._target), int(self._wall()))
            session = self._opened()
        except FileProblem as error:
            return Answer(False, True, str(error))
        except (ssl.SSLError, OSError):
            return Answer(
                False, False, f"{self._target.ca_file}: no certificates can be read; accepted: a PEM file"
            )
        try:
            async with session.post(
                post.url, data=post.body, headers=post.headers, allow_redirects=False
            ) as answer:
                text = await answer.content.read(LONGEST_ANSWER)
                status, retry_after = answer.status, answer.headers.get("Retry-After", "")
                said = f"{status} {self._said(answer.reason or '', 60)}".rstrip()
                return _judged(status, said, self._said(text.decode("utf-8", "replace")), retry_after)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            return Answer(False, True, f"its certificate is not trusted: {self._said(str(error))}")
        except TimeoutError:
            return Answer(False, True, f"no answer within {ATTEMPT_S:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(False, True, f"no connection: {self._said(str(error) or type(error).__name__)}")

    def _said(self, text: str, most: int = 200) -> str:
        """Foreign text for a sentence. Cut last: a part of a secret must not stay."""
        return shown(" ".join(self._target.without_path(text).split()), most)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trusted = self._target.ca_file
            tls = ssl.create_default_context(cafile=str(trusted) if trusted is not None else None)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=1),
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_S, connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _judged(status: int, said: str, body: str, retry_after: str) -> Answer:
    if 200 <= status < 300:
        return Answer(True, False, said)
    if 300 <= status < 400:
        return Answer(False, False, f"{said}: a redirect, which is not followed; write the final URL")
    wait = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
    again = status >= 500 or status in TRY_AGAIN
    return Answer(False, again, f"{said}: {body}" if body else said, wait)
