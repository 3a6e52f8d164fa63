"""``Emulator``: a router for one test. Its event loop runs in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from upnp_gw.model.mapping import MappingKind
from upnp_gw.protocols.igd_services import IgdVersion, control_path, description_path, service_of
from upnp_gw.testing.clock import MovableClock, MovableLoop
from upnp_gw.testing.events import SentEvent
from upnp_gw.testing.fault_in_force import FaultInForce
from upnp_gw.testing.gateway import IPV6_LOOPBACK, EmulatedGateway, running
from upnp_gw.testing.journal import Request, Requests
from upnp_gw.testing.mappings import HeldMapping
from upnp_gw.testing.options import EmulatorOptions
from upnp_gw.testing.outcomes import Reply
from upnp_gw.testing.records import Records
from upnp_gw.testing.rules import Rule

T = TypeVar("T")


class Emulator:
    """A router on a loopback address of its own, without root. ``with`` or ``async with`` starts and stops it.

    Its methods may be called from any thread but its own, also in an asynchronous test: none waits for a client.
    Options: ``EmulatorOptions``.
    """

    def __init__(self, **options: Any) -> None:
        """Raises TypeError for an unknown option, ValueError for a wrong value."""
        given = EmulatorOptions(**options)
        self._given = self._options = given
        """As they were given, and as the personality changes them."""
        self._shape: list[Rule] = []
        if given.personality:
            self._take_on((given.personality,) if isinstance(given.personality, str) else given.personality)
        self._gateway: EmulatedGateway | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    # -- life

    def start(self) -> None:
        """Returns when every server answers. Raises what kept it from starting: ConfigError for a policy with
        mistakes, OSError for a port."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="emulated router", daemon=True)
        self._thread.start()
        started.result()

    def stop(self) -> None:
        """Closes everything. A second call does nothing."""
        loop, stopping, thread = self._loop, self._stopping, self._thread
        self._gateway = self._loop = self._stopping = self._thread = None
        if loop is not None and stopping is not None and thread is not None:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()

    def __enter__(self) -> "Emulator":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> "Emulator":
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _run(self, started: "Future[None]") -> None:
        clock = MovableClock()
        with asyncio.Runner(loop_factory=lambda: MovableLoop(clock)) as runner:
            try:
                runner.run(self._serve(clock, started))
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

    async def _serve(self, clock: MovableClock, started: "Future[None]") -> None:
        stopping = asyncio.Event()
        async with running(self._options, clock) as gateway:
            if self._shape:
                await gateway.become(self._options, self._shape)
            self._gateway, self._loop, self._stopping = gateway, asyncio.get_running_loop(), stopping
            started.set_result(None)
            await stopping.wait()

    # -- where a client finds it

    @property
    def location(self) -> str:
        """The URL of the description of its highest version, which has every service."""
        return self._url(description_path(IgdVersion(f"igd{max(self._options.versions)}")))

    @property
    def location_v1(self) -> str:
        """The URL of the InternetGatewayDevice:1 description."""
        return self._url(description_path(IgdVersion.IGD1))

    @property
    def location_v2(self) -> str:
        """The URL of the InternetGatewayDevice:2 description."""
        return self._url(description_path(IgdVersion.IGD2))

    @property
    def location_ipv6(self) -> str:
        """The URL of ``location`` over IPv6. Raises RuntimeError without the option ``ipv6``."""
        if not self._options.ipv6:
            raise RuntimeError("the emulator serves IPv6 with Emulator(ipv6=True) only")
        return self.location.replace(self.gateway_address, f"[{IPV6_LOOPBACK}]")

    def control_url(self, service: str, version: int = 2) -> str:
        """The URL for SOAP calls of a service, as ``WANIPConnection``, in version 1 or 2 of IGD. Raises
        ValueError."""
        igd_version = IgdVersion(f"igd{version}")
        found = service_of(igd_version, service)
        if found is None:
            raise ValueError(f"InternetGatewayDevice:{version} has no service {service!r}")
        return self._url(control_path(self._running.token, igd_version, found))

    @property
    def gateway_address(self) -> str:
        """Its IPv4 address: the default gateway of its clients, so to say."""
        return str(self._running.place.own.ip)

    @property
    def search_address(self) -> tuple[str, int]:
        """Address and port for searches by unicast: port 1900, unless that is taken or another one was chosen."""
        return self.gateway_address, self._running.search_port or 0

    @property
    def pcp_address(self) -> tuple[str, int]:
        """Address and port of NAT-PMP and PCP: port 5351, unless that is taken or another one was chosen."""
        return self.gateway_address, self._running.pcp_port or 0

    @property
    def external_address(self) -> str:
        """The external IPv4 address; empty: there is none."""
        return self._running.external_address

    def _url(self, path: str) -> str:
        return f"http://{self.gateway_address}:{self._running.http_port}{path}"

    # -- what it has and what it saw

    @property
    def mappings(self) -> Records[HeldMapping]:
        """The port mappings now."""
        return self._wait(self._running.held(MappingKind.PORT_MAPPING))

    @property
    def pinholes(self) -> Records[HeldMapping]:
        """The pinholes now: IPv6, and IPv4 without NAT."""
        return self._wait(self._running.held(MappingKind.PINHOLE))

    @property
    def requests(self) -> Requests:
        """The requests so far, with their answers."""
        return self._call(self._running.journal.requests)

    @property
    def events(self) -> Records[SentEvent]:
        """The events sent to subscribers so far. They leave up to 0.2 s after the change."""
        return self._call(self._running.deliveries.events)

    @property
    def subscribers(self) -> int:
        """The number of event subscriptions now."""
        return self._call(lambda: self._running.subscriptions)

    # -- what a test changes

    def answer(
        self,
        action: str,
        reply: Callable[[Request], Reply] | None = None,
        *,
        error: int | str | None = None,
        values: Mapping[str, str] | None = None,
        wire: str | None = None,
        delay_s: float = 0,
        times: int | None = None,
        after: bool | None = None,
    ) -> FaultInForce:
        """Answers an action in place of the gateway, or disturbs the gateway's answer, until it is taken back.

        ``action``: as ``AddPortMapping``, or ``GET``, ``SUBSCRIBE``, ``natpmp.address``, ``natpmp.map``,
        ``pcp.map``, ``pcp.announce``, ``M-SEARCH``. The answer is one of: ``error``, a code or its name;
        ``values``, the out-arguments; ``reply``, a function of the request that returns one of both, or None where
        it shall not answer. It runs on the emulator's thread, and must not use the emulator. Without any of them it
        is the gateway's own answer. ``wire``: how the answer arrives, by the name of a fault without parameters.
        ``delay_s``: so many seconds later, 25 at most. ``times``: so many requests; None: all. ``after``: the
        gateway makes the change first, then the client gets this answer. Raises ValueError for an unknown word.
        """
        from upnp_gw.testing.registry import answer_rule

        given = [each for each in (reply, error, values) if each is not None]
        if len(given) > 1 or not (given or wire or delay_s):
            raise ValueError("give one of reply, error and values; or wire or delay_s")
        return self._put(
            answer_rule(action, given[0] if given else None, times=times, after=after, wire=wire, delay_s=delay_s)
        )

    def fault(
        self,
        name: str,
        action: str | None = None,
        *,
        times: int | None = None,
        after: bool | None = None,
        **parameters: Any,
    ) -> FaultInForce:
        """Puts a fault of the catalogue (docs/testing-faults.md) in force, until it is taken back.

        ``action``: the request that it strikes, as for ``answer``; None: all that it can strike. ``times``: so many
        requests; None: all. ``after``, where the fault has the choice: True: the gateway makes the change before;
        False: it never sees the request. ``parameters``: those of the fault. Raises ValueError for an unknown word
        or a wrong value; it says what is accepted.
        """
        from upnp_gw.testing.registry import make_rule

        return self._put(make_rule(name, action, times=times, after=after, parameters=parameters))

    def personality(self, *names: str) -> None:
        """Makes it another kind of router (docs/testing-faults.md), several kinds at once, or without a name the
        usual one again. It starts again where the options differ; its mappings and faults stay. Raises ValueError
        for an unknown name."""
        self._take_on(names)
        self._wait(self._running.become(self._options, self._shape))

    def _take_on(self, names: tuple[str, ...]) -> None:
        from upnp_gw.testing.personalities import rules_of, with_personality

        options, shape = with_personality(self._given, names), rules_of(names)
        self._options, self._shape = options, shape

    def clear(self) -> None:
        """Takes back every fault and every answer. The personality stays."""
        self._wait(self._running.take_all_back())

    def _put(self, rule: Rule) -> FaultInForce:
        gateway = self._running
        self._wait(gateway.put_in_force(rule))
        return FaultInForce(
            rule,
            lambda: self._wait(gateway.take_back(rule)) if self._gateway is gateway else None,
            lambda: self._call(lambda: tuple(rule.struck)),
        )

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Moves the emulator's clock. Leases that end on the way have ended when it returns. Raises ValueError for
        a negative time."""
        whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if whole < 0:
            raise ValueError("time does not go back")
        self._wait(self._running.advance(whole))

    def change_wan(self, *, external_address: str | None = None, up: bool | None = None) -> None:
        """Changes the external address (empty: there is none), or takes the WAN down or up; None: as it is.

        Clients learn it as from a router: by events, by a new epoch of NAT-PMP and PCP, or when they ask. Raises
        ValueError for text that is no IPv4 address.
        """
        before = self._running
        address = before.external_address if external_address is None else external_address
        self._wait(before.change_wan(address, before.wan_up if up is None else up))

    def reboot(self, *, keep_mappings: bool = False) -> None:
        """Stops the gateway, and starts it again on the same address and ports, with a new epoch and BOOTID.

        Subscriptions end. Without ``keep_mappings`` the mappings are lost, and control URLs and UDN are new. The
        journal and the faults stay.
        """
        self._wait(self._running.reboot(keep_mappings))

    def lose_events(self, number: int) -> None:
        """The next so many events do not reach their subscribers: these see a gap in SEQ."""
        self.fault("event-lost", times=number)

    def reset(self) -> None:
        """Forgets the requests and events, and takes back every fault and answer. Mappings and
        subscriptions stay."""
        self.clear()
        self._call(self._running.deliveries.clear)
        self._call(self._running.journal.clear)

    # -- the thread

    @property
    def _running(self) -> EmulatedGateway:
        if self._gateway is None:
            raise RuntimeError("the emulator is not started")
        return self._gateway

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _call(self, function: Callable[[], T]) -> T:
        async def called() -> T:
            return function()

        return self._wait(called())
