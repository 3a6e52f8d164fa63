"""The client of the control API: HTTP/1.0 over the Unix socket, with the socket module alone.

An HTTP/1.0 answer ends with the connection, so nothing has to parse chunks. An HTTP library takes longer to import
than the daemon takes to answer.
"""

import functools
import gc
import json
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import click
import msgspec

from upnp_gw.cli.terminal import LONGEST_TEXT, show_error
from upnp_gw.text.escape import shown

REFUSED = 1
UNREACHABLE = 3
ANSWER_TIMEOUT_S = 30.0
"""Seconds. The doctor listens to the network for some of them; everything else answers at once."""

COLLECTED = 1_000_000
"""Objects between collections of garbage. A command makes few cycles; a list of 10,000 mappings many objects."""

SOCKET_NAME = "control.sock"
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class DaemonUnreachable(click.ClickException):
    """The daemon does not run or does not answer, or this user may not ask it. Exit code 3."""

    exit_code = UNREACHABLE


class NotPermitted(DaemonUnreachable):
    """This user may not use the control socket. A daemon may be running."""


class RequestProblem(click.ClickException):
    """The daemon refused the request with an ``api.Problem``. Exit code 1.

    ``options``: field of the API -> argument or option of the command; empty: the message needs no name before it.
    """

    exit_code = REFUSED

    def __init__(self, problem: Mapping[str, Any], options: Mapping[str, str] = NO_OPTIONS) -> None:
        field, decision = problem.get("field"), problem.get("decision")
        field = options.get(field, field) if field else None
        text = f"{field}: {problem['message']}" if field else str(problem["message"])
        text = shown(text, LONGEST_TEXT)
        if problem.get("holder"):
            from upnp_gw import api
            from upnp_gw.cli.holder import format_holder

            holder = msgspec.convert(problem["holder"], api.Holder)
            text += f". In the way: {format_holder(holder)}. To close it: upnp-gw delete {shown(holder.mapping)}"
        super().__init__(text + (f" (decision {decision})" if decision else ""))
        self.problem = problem


class DaemonClient:
    """Sends requests to the daemon that uses one runtime directory."""

    program, option = "upnp-gw", "--runtime-dir"
    """The program that answers at the socket, and the option that finds it; for messages."""
    answer_s = ANSWER_TIMEOUT_S

    def __init__(self, runtime_dir: Path) -> None:
        self.path = runtime_dir / SOCKET_NAME

    def running(self) -> bool:
        """True if a daemon accepts connections. Raises NotPermitted."""
        try:
            self._connect().close()
        except NotPermitted:
            raise
        except DaemonUnreachable:
            return False
        return True

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, object] | None = None,
        options: Mapping[str, str] = NO_OPTIONS,
    ) -> bytes:
        """The body of the answer, JSON. A parameter of the query that is None is left out. ``options``: field of
        the body or the query -> argument or option of the command, for messages.

        Raises RequestProblem if the status is not 2xx, DaemonUnreachable if no daemon answers.
        """
        with self._send(method, path, body, query) as connection, connection.makefile("rb") as answer:
            try:
                status, value = _head(answer.readline), answer.read()
                if not 200 <= status < 300:
                    raise RequestProblem(json.loads(value), options)
            except OSError as error:
                raise DaemonUnreachable(f"the daemon at {self.path} did not answer: {error}") from None
            except ValueError:
                raise DaemonUnreachable(
                    f"the answer at {self.path} is not from upnp-gw, or from another version of it"
                ) from None
        return value

    def download(self, path: str, query: Mapping[str, object] | None = None) -> Iterator[bytes]:
        """The bytes of a file that the daemon sends, all of them. Raises like ``request``."""
        with self._send("GET", path, None, query) as connection, connection.makefile("rb") as answer:
            headers: dict[bytes, bytes] = {}
            try:
                status = _head(answer.readline, headers)
                if not 200 <= status < 300:
                    raise RequestProblem(json.loads(answer.read()))
                left = int(headers[b"content-length"])
                while left and (portion := answer.read(min(left, 1 << 18))):
                    left -= len(portion)
                    yield portion
            except OSError as error:
                raise DaemonUnreachable(f"the daemon at {self.path} did not answer: {error}") from None
            except (ValueError, KeyError):
                raise DaemonUnreachable(
                    f"the answer at {self.path} is not from upnp-gw, or from another version of it"
                ) from None
            if left:
                raise DaemonUnreachable(f"the daemon at {self.path} ended the connection before the file was whole")

    def events(self) -> "EventStream":
        """The event stream. It has every event from the moment this returns."""
        return EventStream(self._send("GET", "/v1/events", None, None))

    def _send(self, method: str, path: str, body: object, query: Mapping[str, object] | None) -> socket.socket:
        if query:
            from urllib.parse import urlencode

            path += "?" + urlencode({key: value for key, value in query.items() if value is not None})
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        connection = self._connect()
        try:
            connection.sendall(head.encode("ascii") + content)
        except OSError as error:
            connection.close()
            raise DaemonUnreachable(f"the daemon at {self.path} did not answer: {error}") from None
        return connection

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.answer_s)
        try:
            connection.connect(str(self.path))
        except (FileNotFoundError, ConnectionRefusedError):
            problem = f"{self.program} is not running: nothing answers at {self.path} (another {self.option}?)"
        except PermissionError:
            connection.close()
            raise NotPermitted(
                f"no permission to use {self.path}. Use: sudo upnp-gw {shown(' '.join(sys.argv[1:]), 200)};"
                " or name a group of yours in [control] group of the configuration"
            ) from None
        except OSError as error:
            problem = f"cannot reach upnp-gw at {self.path}: {error}"
        else:
            return connection
        connection.close()
        raise DaemonUnreachable(problem)


class EventStream:
    """A stream of ``api.Event``, one JSON object a line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pending = b""
        try:
            self._begin()
        except BaseException:
            connection.close()
            raise

    def _begin(self) -> None:
        try:
            if _head(self._line) != 200:
                raise RequestProblem(json.loads(self._line()))
            if not self._line():  # hello: no later event is missed
                raise ValueError("no event stream")
        except OSError as error:
            raise DaemonUnreachable(f"the daemon did not answer: {error}") from None
        except ValueError:
            raise DaemonUnreachable("the answer is not from upnp-gw, or from another version of it") from None

    def __iter__(self) -> Iterator[bytes]:
        """The lines, until the daemon stops."""
        self._connection.settimeout(None)
        while line := self._line():
            yield line

    def wait(self, seconds: float | None, also: int | None = None) -> bool:
        """Waits for an event, at most ``seconds``, and discards all that came. False: the daemon stopped.

        ``also``: a file descriptor; it ends the wait too when it can be read, and is read empty."""
        wait_s = 0.0 if b"\n" in self._pending else seconds
        sources: list[socket.socket | int] = [self._connection] if also is None else [self._connection, also]
        while ready := select.select(sources, [], [], wait_s)[0]:
            if also is not None and also in ready:
                os.read(also, 4096)
            if self._connection in ready and not self._connection.recv(65536):
                return False
            wait_s = 0.0
        self._pending = b""
        return True

    def close(self) -> None:
        self._connection.close()

    def _line(self) -> bytes:
        while b"\n" not in self._pending:
            received = self._connection.recv(65536)
            if not received:
                return b""
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        return line


def _head(line: Callable[[], bytes], headers: dict[bytes, bytes] | None = None) -> int:
    """Reads the status line and the headers, and returns the status. ``headers`` gets them, with names in lower
    case. Raises ValueError if it is not HTTP."""
    status = line().split(b" ", 2)
    if len(status) < 2 or not status[1].isdigit():
        raise ValueError("no HTTP answer")
    while header := line().strip():
        if headers is not None:
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip()
    return int(status[1])


def print_json(body: bytes, *, line: bool = False) -> None:
    """Prints JSON in ASCII, so that no control character reaches a terminal (SR-21)."""
    click.echo(json.dumps(json.loads(body), indent=None if line else 2))


def daemon_command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a command that asks the daemon: it gets a DaemonClient and ``as_json`` as its first arguments."""

    @click.option(
        "--runtime-dir",
        type=click.Path(path_type=Path),
        default=Path("/run/upnp-gw"),
        envvar="UPNP_GW_RUNTIME_DIR",
        metavar="DIR",
        help="Directory of the control socket.  [default: /run/upnp-gw]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(function)
    def command(runtime_dir: Path, as_json: bool, **given: Any) -> None:
        before = gc.get_threshold()
        gc.set_threshold(COLLECTED)
        try:
            function(DaemonClient(runtime_dir), as_json, **given)
        except (DaemonUnreachable, RequestProblem) as error:
            exit_with_error(error, as_json)
        except (json.JSONDecodeError, msgspec.MsgspecError):
            problem = "the daemon has another version than this command: restart the daemon"
            exit_with_error(DaemonUnreachable(problem), as_json)
        except KeyboardInterrupt:  # ends --watch and --follow
            click.echo()
        finally:
            gc.set_threshold(*before)

    return command


def exit_with_error(error: click.ClickException, as_json: bool) -> NoReturn:
    """Prints the error on stderr, with --json as JSON, and exits with its code."""
    if not as_json:
        show_error(error)
    elif isinstance(error, RequestProblem):
        click.echo(json.dumps(dict(error.problem)), err=True)
    else:
        click.echo(json.dumps({"error": "unreachable", "message": error.format_message()}), err=True)
    sys.exit(error.exit_code)
