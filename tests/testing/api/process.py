"""A process of `upnp-gw emulate`, and requests to its control API."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from upnp_gw.testing.api.bodies import Problem, State
from upnp_gw.testing.api.routes import ROUTES

T = TypeVar("T")
COMMAND = (sys.executable, "-m", "upnp_gw", "emulate")
DONE_S = 20


class Refused(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(f"{status} {problem}")
        self.status = status
        self.problem = problem


class Process:
    """A running one."""

    def __init__(self, popen: "subprocess.Popen[str]", state: State) -> None:
        self.popen = popen
        self.first = state
        """As it was printed."""

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of the answer. Raises Refused."""
        request = urllib.request.Request(self.first.control + path, body, dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=DONE_S) as answer:
                found: bytes = answer.read()
                return found
        except urllib.error.HTTPError as error:
            raise Refused(error.code, msgspec.json.decode(error.read(), type=Problem)) from None

    def ask(
        self, operation: str, body: Mapping[str, Any] | None = None, query: str = "", number: object = ""
    ) -> Any:
        """The answer, checked against the type of the route. Raises Refused."""
        route = ROUTES[operation]
        data = None if body is None else json.dumps(body).encode()
        answer = self.raw(route.method, route.path.replace("{id}", str(number)) + query, data)
        return msgspec.json.decode(answer, type=route.answer)

    def state(self) -> State:
        state: State = self.ask("state")
        return state


@contextmanager
def emulating(*options: str, **popen: Any) -> Iterator[Process]:
    """Serves within the block."""
    argv = [*COMMAND, "--json", *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **popen) as process:
        assert process.stdout is not None
        try:
            yield Process(process, msgspec.json.decode(process.stdout.readline(), type=State))
        finally:
            process.terminate()
            assert process.wait(DONE_S) == 0
