"""Processor time of one request by stage: ``python -m tests.bench.stages [COUNT]``.

The engine runs in this process with the store on disk, the listeners of the daemon and the SOAP codec, without
sockets. Each stage has only its own time, not that of the stages that it calls. The figure is the first decile of
COUNT (default 400) requests of one kind, so that other programs hardly count, in microseconds of the event loop's
thread; the caches are hot. ``threads`` is the processor time of all other threads for one request, ``loop`` what no
stage has: tasks, futures, the event loop. ``hops``: calls that another thread runs. ``wake-ups``: turns of the
loop.

In place of the kernel there is a thread that does nothing: the call of it costs as much as with nftables, but the
work of nftables is not measured here.
"""

import asyncio
import functools
import gc
import inspect
import io
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import date
from ipaddress import IPv4Address, IPv4Interface, ip_address
from pathlib import Path
from typing import Any

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, Clock, gateway_fixture
from upnp_gw.daemon import decision_log
from upnp_gw.engine import refresh, requests
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.persistence import Persistence
from upnp_gw.engine.requests import RequestOperations
from upnp_gw.engine.writer import Writer
from upnp_gw.firewall.base import Change
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.gate.load import load_text
from upnp_gw.ledger.events import Events
from upnp_gw.ledger.plan import Planner
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.network import Link, Neighbour, Network
from upnp_gw.model.request import Source
from upnp_gw.protocols.igd.scpd import service_models
from upnp_gw.protocols.igd_services import IgdVersion, service_of
from upnp_gw.servers.http.control import Control, ControlAnswer, ControlBackend
from upnp_gw.system import log_lines
from upnp_gw.system.network_monitor import NetworkMonitor
from upnp_gw.system.worker import Worker

COUNT = 400
PORTS = 20_000
URN = "urn:schemas-upnp-org:service:WANIPConnection:1"
ADD = (
    "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>TCP</NewProtocol>"
    "<NewInternalPort>{port}</NewInternalPort><NewInternalClient>" + CONSOLE_IP + "</NewInternalClient>"
    "<NewEnabled>1</NewEnabled><NewPortMappingDescription>stages</NewPortMappingDescription>"
    "<NewLeaseDuration>3600</NewLeaseDuration>"
)
DELETE = "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>TCP</NewProtocol>"
ENVELOPE = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<u:{action} xmlns:u="{urn}">{arguments}</u:{action}></s:Body></s:Envelope>'
)


class Stages:
    """Exclusive time of wrapped functions on the event loop's thread, for one request."""

    def __init__(self) -> None:
        self.thread_s: Callable[[], int] = time.thread_time_ns
        self.spent: dict[str, int] = {}
        self._stack: list[str] = []
        self._since = 0
        self._undo: list[Callable[[], None]] = []

    def begin(self) -> None:
        self.spent, self._stack = {}, []
        self._since = self.thread_s()

    def _charge(self, stage: str) -> None:
        now = self.thread_s()
        self.spent[stage] = self.spent.get(stage, 0) + now - self._since
        self._since = now

    def _here(self) -> str:
        return self._stack[-1] if self._stack else "loop"

    def end(self) -> dict[str, int]:
        self._charge(self._here())
        return self.spent

    def wrap(self, stage: str, owner: Any, name: str) -> None:
        """Times a function; of a coroutine that it returns, each step."""
        function = inspect.getattr_static(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.inside(stage):
                result: Any = function(*arguments, **named)
            return _Steps(self, stage, result) if inspect.iscoroutine(result) else result

        setattr(owner, name, timed)
        self._undo.append(lambda: setattr(owner, name, function))

    @contextmanager
    def inside(self, stage: str) -> Iterator[None]:
        self._charge(self._here())
        self._stack.append(stage)
        try:
            yield
        finally:
            self._charge(stage)
            self._stack.pop()

    def restore(self) -> None:
        for undo in reversed(self._undo):
            undo()


class _Steps:
    """A coroutine whose every step counts for a stage."""

    def __init__(self, stages: Stages, stage: str, inner: Any) -> None:
        self._stages, self._stage, self._inner = stages, stage, inner

    def __await__(self) -> Iterator[Any]:
        value: Any = None
        while True:
            try:
                with self._stages.inside(self._stage):
                    waited_for = self._inner.send(value)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            value = yield waited_for


def wrap_all(stages: Stages) -> None:
    wrap = stages.wrap
    wrap("parse, build", Control, "serve")
    wrap("handle", Gateway, "handle")
    wrap("writer", Writer, "_attempt")
    wrap("perform", RequestOperations, "perform")
    wrap("plan", RequestOperations, "map")
    wrap("facts", Decider, "facts")
    wrap("facts", Decider, "held")
    wrap("decide", refresh, "decide")
    wrap("plan", Planner, "plan")
    wrap("row", Transaction, "put")
    wrap("record", requests, "map_record")
    wrap("kernel changes", sys.modules["upnp_gw.engine.kernel_and_store"], "kernel_changes")
    wrap("firewall, loop side", NoKernel, "apply")
    wrap("store, loop side", Persistence, "prepared")
    wrap("store, loop side", Persistence, "written")
    wrap("commit", Transaction, "commit")
    wrap("events", Events, "publish")
    wrap("log", decision_log, "on_event")


class NoKernel(MemoryFirewall):
    """Accepts each batch on a thread of its own, as nftables does, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = Worker("kernel")

    async def apply(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        await self._thread.run(then or (lambda: None))


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts its turns and the calls that it gives to other threads."""

    hops = 0
    turns = 0

    def run_in_executor(self, *arguments: Any) -> Any:  # type: ignore[override]
        self.hops += 1
        return super().run_in_executor(*arguments)

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]


NETWORK = Network(
    wan=Link("wan0", 2, True, (IPv4Interface("11.22.33.44/24"),)),
    lans=(Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),)),),
    external=(IPv4Address("11.22.33.44"),),
    connected_at=900.0,
)
POLICY = (
    'version = 1\ndefault = "deny"\n[limits]\nrequests_per_minute = 6000\nper_device = 60000\n'
    "elements_per_device = 60000\ntotal_mappings = 60000\n"
    '[[forbid]]\nname = "admin"\nint_ports = [22, 23, 443]\n[[grant]]\nname = "all"\nwho = "*"\n'
    'int_ports = ["1024-65535"]\n'
)


class Served:
    """The codec and the engine, without sockets. ``send`` is one SOAP call."""

    def __init__(self, control: Control, loop: CountingLoop) -> None:
        self._control = control
        self._loop = loop
        service = service_of(IgdVersion.IGD1, "WANIPConnection")
        assert service is not None
        self._service = service

    async def send(self, action: str, arguments: str) -> None:
        headers = {"SOAPACTION": f'"{URN}#{action}"', "Content-Type": 'text/xml; charset="utf-8"'}
        body = ENVELOPE.format(action=action, urn=URN, arguments=arguments).encode()
        source = Source(ip_address(CONSOLE_IP), "lan0")
        served = self._control.serve(IgdVersion.IGD1, self._service, source, headers, body)
        answer = served if isinstance(served, ControlAnswer) else await served
        if answer.status != 200:
            raise SystemExit(f"{action}: {answer}")


async def measure(directory: Path, count: int, clock: Clock) -> dict[str, dict[str, float]]:
    """Kind of request -> stage -> microseconds."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    stages = Stages()
    async with AsyncExitStack() as stack:
        stack.callback(stages.restore)
        monitor = NetworkMonitor("wan0", ("lan0",), boottime=lambda: clock.now.boot)
        stack.push_async_callback(monitor.close)
        monitor.network = NETWORK
        monitor.neighbours.learn(Neighbour(ip_address(CONSOLE_IP), CONSOLE, "lan0"))
        # as if the operator had set the entry: the address is settled, and no host has to answer
        monitor._holders.on_permanent_entry((ip_address(CONSOLE_IP), "lan0"), CONSOLE)
        wrap_all(stages)
        policy = load_text(POLICY, "stages", date(2027, 1, 15))
        served = await stack.enter_async_context(
            gateway_fixture(directory, policy, clock, network=NETWORK, firewall=NoKernel())
        )
        served.around.hosts = monitor
        served.published.subscribe(lambda event: decision_log.on_event(event))
        models = service_models([IgdVersion.IGD1])
        backend = ControlBackend(served.view, served.gateway.handle)
        control = Served(Control(models, backend, {IgdVersion.IGD1: ""}, 10.0), loop)
        found: dict[str, dict[str, float]] = {}
        gc.freeze()
        for name, action, arguments in (
            ("warm", "AddPortMapping", ADD),
            ("add", "AddPortMapping", ADD),
            ("refresh", "AddPortMapping", ADD),
            ("delete", "DeletePortMapping", DELETE),
        ):
            first = PORTS if name != "warm" else PORTS + count
            found[name] = await _each(
                stages,
                loop,
                clock,
                [functools.partial(control.send, action, arguments.format(port=first + n)) for n in range(count)],
            )
        del found["warm"]
        return found


async def _each(
    stages: Stages, loop: CountingLoop, clock: Clock, calls: list[Callable[[], Awaitable[None]]]
) -> dict[str, float]:
    rows: list[dict[str, float]] = []
    for call in calls:
        clock.pass_s(0.01)  # no flow is cut during the measurement
        hops, turns, process, wall = loop.hops, loop.turns, time.process_time_ns(), time.perf_counter_ns()
        own = time.thread_time_ns()
        stages.begin()
        await call()
        replied = time.perf_counter_ns()
        for _ in range(3):  # what is left for after the reply
            await asyncio.sleep(0)
        row = {name: ns / 1000 for name, ns in stages.end().items()}
        total = (time.thread_time_ns() - own) / 1000
        row["all on the loop"] = total
        row["threads"] = (time.process_time_ns() - process) / 1000 - total
        row["reply, wall clock"] = (replied - wall) / 1000
        row["hops"], row["wake-ups"] = loop.hops - hops, loop.turns - turns - 3
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: sorted(row.get(name, 0.0) for row in rows)[len(rows) // 10] for name in names}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    log_lines.configure("text", "info", io.StringIO())
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=CountingLoop) as runner:
        found = runner.run(measure(Path(directory), count, Clock()))
    names = dict.fromkeys(name for row in found.values() for name in row)
    order = [name for name in names if name not in LAST] + [name for name in LAST if name in names]
    print(f"{'microseconds':20}" + "".join(f"{kind:>10}" for kind in found))
    for name in order:
        print(f"{name:20}" + "".join(f"{row.get(name, 0.0):10.1f}" for row in found.values()))


LAST = ("loop", "all on the loop", "threads", "reply, wall clock", "hops", "wake-ups")

if __name__ == "__main__":
    main()
