"""The number of files that a request passes through: ``python -m tests.bench.request_path [--files | --calls]``.

The daemon runs in this process with the memory backend, on the loopback. A profile hook notes the file of each call
of the package while one request is answered: how many files, and how often the next call is in another file.

Two counts. ``to the reply`` is the way of the request: the calls of named functions from the first byte until the
last byte of the reply is sent, on the tasks that the reply waits for. ``all`` is what happens meanwhile: besides
these the events after the reply, the timers that look at the ledger then, each resumed coroutine, and each item of
a generator expression. A lease that ends has no reply.
"""

import asyncio
import dis
import json
import re
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from urllib.parse import urlsplit

import upnp_gw
from upnp_gw.config.settings import EMULATED_ADDRESS, EMULATED_WAN, Config
from upnp_gw.daemon.process import Daemon
from upnp_gw.ledger.events import TableChanged

PACKAGE = str(Path(upnp_gw.__file__).parent) + "/"
DAEMON = PACKAGE + "daemon/process.py"
LOOPBACK = "127.0.0.1"
DEADLINE_S = 20.0
SOAP = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<u:AddPortMapping xmlns:u="{urn}"><NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort>'
    "<NewProtocol>TCP</NewProtocol><NewInternalPort>{port}</NewInternalPort><NewInternalClient>127.0.0.1"
    "</NewInternalClient><NewEnabled>1</NewEnabled><NewPortMappingDescription>path</NewPortMappingDescription>"
    "<NewLeaseDuration>3600</NewLeaseDuration></u:AddPortMapping></s:Body></s:Envelope>"
)
SENDS = frozenset({"write", "sendto", "sendmsg"})
URN = "urn:schemas-upnp-org:service:WANIPConnection:1"


def _is_announcement(frame: FrameType) -> bool:
    """A call of a timer that announces the gateway: it has nothing to do with the request."""
    outermost, below = frame, frame.f_back
    while below is not None:
        if below.f_code.co_filename.startswith(PACKAGE) and below.f_code.co_filename != DAEMON:
            outermost = below
        below = below.f_back
    code = outermost.f_code
    # ``_on_timer`` of port 5351 repeats announcements, and so does that of SSDP
    return "/ssdp/" in code.co_filename or code.co_name == "_on_timer" or "announce" in code.co_qualname.lower()


def _outermost(frame: FrameType) -> str:
    """The file of the package's first function on this stack."""
    name, below = "", frame
    while below is not None:
        if below.f_code.co_filename.startswith(PACKAGE) and below.f_code.co_filename != DAEMON:
            name = below.f_code.co_filename
        below = below.f_back  # type: ignore[assignment]
    return name.removeprefix(PACKAGE)


def _begins(frame: FrameType) -> bool:
    """True for a call of a named function; False where a coroutine or generator goes on, and in an expression."""
    code, place = frame.f_code, frame.f_lasti
    starts = dis.opname[code.co_code[place]] != "RESUME" or code.co_code[place + 1] == 0
    return starts and not code.co_name.startswith("<")


@dataclass(frozen=True, slots=True)
class Call:
    thread: int
    file: str
    function: str
    begins: bool
    on_the_way: bool
    """Of a task or callback that the reply waits for."""


class Way:
    """The files of some calls, in order."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.calls = list(calls)

    @property
    def files(self) -> list[str]:
        """In the order of their first call."""
        return list(dict.fromkeys(call.file for call in self.calls))

    @property
    def changes(self) -> int:
        """The number of times that the next call of a thread is in another file."""
        threads: dict[int, list[str]] = {}
        for call in self.calls:
            threads.setdefault(call.thread, []).append(call.file)
        return sum(one != other for files in threads.values() for one, other in pairwise(files))


class Trace:
    """The calls, in order. ``replied``: how many there were when the last byte of the reply was sent."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replied = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE) and not _is_announcement(frame):
            way = _outermost(frame).startswith(("servers/", "engine/writer.py"))
            file, function = name.removeprefix(PACKAGE), frame.f_code.co_qualname
            self.calls.append(Call(threading.get_ident(), file, function, _begins(frame), way))
        elif _sends(frame, event, argument) and not _is_announcement(frame):
            self.replied = len(self.calls)

    @property
    def all(self) -> Way:
        return Way(self.calls)

    @property
    def to_the_reply(self) -> Way:
        return Way(call for call in self.calls[: self.replied] if call.begins and call.on_the_way)


def _sends(frame: FrameType, event: str, argument: object) -> bool:
    """True where the daemon gives bytes to a socket or to a transport of the event loop."""
    if event == "call":
        sends = frame.f_code.co_name in SENDS and frame.f_code.co_filename.endswith("selector_events.py")
    else:
        sends = event == "c_call" and getattr(argument, "__name__", "") in SENDS
    return sends and not any(code in CLIENTS for code in _stack(frame))


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


@contextmanager
def traced() -> Iterator[Trace]:
    trace = Trace()
    threading.setprofile_all_threads(trace) if hasattr(threading, "setprofile_all_threads") else None
    sys.setprofile(trace)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def _http(port: int, method: str, path: str, body: str = "", **headers: str) -> str:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "Connection: close", "", body]).encode())
    text = (await asyncio.wait_for(reader.read(), DEADLINE_S)).decode()
    writer.close()
    return text


async def _datagram(data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (LOOPBACK, 5351))
        await loop.sock_sendall(sock, data)
        return await asyncio.wait_for(loop.sock_recv(sock, 2048), DEADLINE_S)


async def _control(runtime: Path, method: str, path: str, body: str = "") -> Any:
    reader, writer = await asyncio.open_unix_connection(str(runtime / "control.sock"))
    head = f"{method} {path} HTTP/1.1\r\nHost: upnp-gw\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    text = (await asyncio.wait_for(reader.read(), DEADLINE_S)).decode()
    writer.close()
    return text


CLIENTS = frozenset(client.__code__ for client in (_http, _datagram, _control))


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 (a socket file has no event)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served(directory: Path, **options: Any) -> AsyncIterator[tuple[Daemon, int, str]]:
    """The daemon on the loopback, its HTTP port and the control URL of WANIPConnection. ``options``: of Config."""
    policy = directory / "policy.toml"
    policy.write_text(
        'version = 1\ndefault = "deny"\n[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["1024-65535"]\n'
    )
    config = Config(
        lan=("lo",),
        wan=EMULATED_WAN,
        external_addresses=(EMULATED_ADDRESS,),
        backend="memory",
        http_port=0,
        policy=policy,
        state_dir=directory / "state",
        runtime_dir=directory,
        log_level="error",
        **options,
    )
    daemon = Daemon(config)
    task = asyncio.create_task(daemon.run())

    async def ready() -> bool:
        if task.done():
            task.result()
        try:
            await _control(directory, "GET", "/v1/status")
        except OSError:
            return False
        return True

    try:
        await _until(ready)
        location = urlsplit((await _body(_control(directory, "GET", "/v1/status")))["locations"][0])
        port = location.port or 0
        description = await _http(port, "GET", location.path)
        yield daemon, port, re.findall(r"<controlURL>([^<]*WANIPConnection[^<]*)</controlURL>", description)[0]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def add_port_mapping(http_port: int, control: str, port: int) -> Awaitable[str]:
    """Sends AddPortMapping and reads the answer."""
    headers = {"SOAPAction": f'"{URN}#AddPortMapping"', "Content-Type": 'text/xml; charset="utf-8"'}
    return _http(http_port, "POST", control, SOAP.format(urn=URN, port=port), **headers)


async def measure(directory: Path) -> dict[str, Trace]:
    """The trace of each kind of change."""
    async with served(directory) as (daemon, http_port, control):
        return await _measure(directory, daemon, http_port, control)


async def _measure(directory: Path, daemon: Daemon, http_port: int, control: str) -> dict[str, Trace]:
    traces: dict[str, Trace] = {}

    async def trace(name: str, work: Awaitable[str | bytes], expected: str) -> None:
        with traced() as traces[name]:
            answer = await work
        text = answer if isinstance(answer, str) else answer.hex()
        if expected not in text:
            raise SystemExit(f"{name}: {text}")

    for attempt in range(2):  # the first loads what is loaded once
        soap = add_port_mapping(http_port, control, 8080 + attempt)
        await trace("AddPortMapping", soap, "AddPortMappingResponse")
        request = struct.pack("!BBHHHI", 0, 2, 0, 9000 + attempt, 9000 + attempt, 3600)
        await trace("NAT-PMP map", _datagram(request), "00820000")
        await trace("reload", _control(directory, "POST", "/v1/reload"), "200")

    await _datagram(struct.pack("!BBHHHI", 0, 2, 0, 9100, 9100, 1))
    ended = asyncio.Event()
    daemon.events.subscribe(lambda event: ended.set() if isinstance(event, TableChanged) else None)
    with traced() as traces["a lease that ends"]:
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()
        await daemon.gateway.settled()
    traces["a lease that ends"].replied = 0  # what was sent is an announcement
    return traces


async def _body(answer: Awaitable[str]) -> Any:
    text = (await answer).split("\r\n\r\n", 1)[1]
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        traces = asyncio.run(measure(Path(directory)))
    print(f"{'':18} {'to the reply':>22} {'all':>22}")
    for name, trace in traces.items():
        ways = (trace.to_the_reply, trace.all) if trace.replied else (None, trace.all)
        counts = [f"{len(way.files)} files, {way.changes} changes" if way else "" for way in ways]
        print(f"{name:18} " + " ".join(f"{count:>22}" for count in counts))
    for name, trace in traces.items():
        way = trace.to_the_reply if trace.replied else trace.all
        if "--files" in sys.argv:
            print(f"\n{name}\n  " + "\n  ".join(way.files))
        if "--calls" in sys.argv:
            print(f"\n{name}\n  " + "\n  ".join(f"{call.file} {call.function}" for call in way.calls))


if __name__ == "__main__":
    main()
