"""HTTP over the control socket of the daemon in a lab."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

ANSWER_S = 30.0
"""Most seconds for an answer."""


class ControlConnection(http.client.HTTPConnection):
    """One connection to the control socket below a runtime directory."""

    def __init__(self, runtime_dir: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = runtime_dir / "control.sock"

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._path))


def ask(runtime_dir: Path, method: str, path: str, body: object = None) -> Any:
    """One request. Raises AssertionError with the answer if its status is not 200."""
    with closing(ControlConnection(runtime_dir)) as connection:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        report = json.loads(answer.read())
    assert answer.status == 200, report
    return report


class EventStream:
    """The lines of /v1/events: every event from the moment this was made, until the daemon stops."""

    def __init__(self, runtime_dir: Path) -> None:
        self._connection = ControlConnection(runtime_dir)
        self._connection.request("GET", "/v1/events")
        self._stream = self._connection.getresponse()
        self._stream.readline()  # hello: from here on every event is sent
        assert self._connection.sock is not None
        self._connection.sock.settimeout(None)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream.readline, b"")

    def end(self) -> None:
        """Ends the iteration of another thread, once it has the lines that have come. May be called again."""
        assert self._connection.sock is not None
        with suppress(OSError):  # the daemon has closed it
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stream.close()
        self._connection.close()
