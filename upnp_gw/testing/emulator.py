"""``Emulator``: a router for one test."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar, Unpack

from upnp_gw.model.mapping import MappingKind
from upnp_gw.testing.addresses import Addresses
from upnp_gw.testing.announcements import Announcement
from upnp_gw.testing.changes import Changes, Live, LiveRecords
from upnp_gw.testing.clock import MovableClock
from upnp_gw.testing.events import SentEvent
from upnp_gw.testing.fault_control import FaultControl
from upnp_gw.testing.fault_in_force import FaultInForce
from upnp_gw.testing.gateway import EmulatedGateway, running
from upnp_gw.testing.host import Done, Host
from upnp_gw.testing.journal import Request, Requests
from upnp_gw.testing.mappings import HeldMapping
from upnp_gw.testing.options import EmulatorOptions, Options, check_options
from upnp_gw.testing.outcomes import Reply
from upnp_gw.testing.rules import Rule
from upnp_gw.testing.subscribers import Subscriber

R = TypeVar("R")


class Emulator(Addresses):
    """A router on a loopback address of its own, without root.

    ``with`` starts and stops it in a thread of its own, also in an asynchronous test. ``async with`` starts it on
    the event loop of the test: there, no client may stop that loop, and what returns ``Done`` is awaited. Options:
    ``EmulatorOptions``.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        """Raises TypeError for an unknown option, ValueError for a wrong value."""
        check_options(options)
        given = EmulatorOptions(**options)
        self._given = self._options = given
        """As they were given, and as the personality changes them."""
        self._shape: list[Rule] = []
        self._personality_names: tuple[str, ...] = ()
        if given.personality:
            self._take_on((given.personality,) if isinstance(given.personality, str) else given.personality)
        self._changes = Changes()
        self._host = Host(self._serving)
        self._control: FaultControl

    def __repr__(self) -> str:
        return f"<Emulator {self.location if self._host.ready else 'that is not ready'}>"

    # -- life

    def start(self) -> None:
        """Starts it in a thread. Returns when every server answers. Raises what kept it from starting: ConfigError
        for a policy with mistakes, OSError for a port."""
        self._host.start()

    def stop(self) -> None:
        """Closes everything. A second call does nothing."""
        self._host.stop()

    def __enter__(self) -> "Emulator":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> "Emulator":
        await self._host.start_here()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._host.stop_here()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[EmulatedGateway]:
        clock = MovableClock(frozen=self._given.frozen)
        async with running(self._options, clock, self._changes) as gateway:
            self._control = FaultControl(gateway)
            await self._control.become(self._options, self._shape)
            yield gateway

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of InternetGatewayDevice that it has."""
        return self._options.versions

    @property
    def personality_names(self) -> tuple[str, ...]:
        """The kinds of router that it is."""
        return self._personality_names

    # -- what it has and what it saw

    @property
    def mappings(self) -> LiveRecords[HeldMapping]:
        """The port mappings now."""
        return self._held(MappingKind.PORT_MAPPING, "port mapping")

    @property
    def pinholes(self) -> LiveRecords[HeldMapping]:
        """The pinholes now: IPv6, and IPv4 without NAT."""
        return self._held(MappingKind.PINHOLE, "pinhole")

    @property
    def requests(self) -> Requests:
        """The requests so far, with their answers."""
        journal, host = self._running.journal, self._host
        live = Live(self._changes, lambda: self.requests)
        return Requests(host.call(journal.requests), live=live, clear=lambda: host.call(journal.clear))

    @property
    def events(self) -> LiveRecords[SentEvent]:
        """The events sent to subscribers so far. They leave up to 0.2 s after the change."""
        return self._live(SentEvent, "event", self._running.deliveries.events, lambda: self.events)

    @property
    def subscribers(self) -> LiveRecords[Subscriber]:
        """The event subscriptions now."""
        return self._live(Subscriber, "subscriber", self._running.subscribers, lambda: self.subscribers)

    @property
    def announcements(self) -> LiveRecords[Announcement]:
        """The SSDP announcements so far. Without the option ``multicast`` there are none."""
        read = self._running.announcements.all
        return self._live(Announcement, "announcement", read, lambda: self.announcements)

    @property
    def changes(self) -> Changes:
        """Wakes those who wait for what it sees."""
        return self._changes

    @property
    def now_s(self) -> float:
        """Seconds since its start, by its own clock."""
        return self._running.journal.now_s()

    @property
    def wan_up(self) -> bool:
        """False: the link to the internet is down."""
        return self._running.wan_up

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

    def parsed_fault(self, text: str) -> FaultInForce:
        """``fault`` and ``answer`` for a text as the option --fault takes it: ``AddPortMapping=718,times=1``."""
        from upnp_gw.testing.fault_option import parse_fault

        return self._put(parse_fault(text))

    def personality(self, *names: str) -> Done:
        """Makes it another kind of router (docs/testing-faults.md), several kinds at once, or without a name the
        usual one again. It starts again where the options differ; its mappings and faults stay. Raises ValueError
        for an unknown name."""
        self._take_on(names)
        return self._host.change(self._control.become(self._options, self._shape))

    def _take_on(self, names: tuple[str, ...]) -> None:
        from upnp_gw.testing.personalities import rules_of, with_personality

        options, shape = with_personality(self._given, names), rules_of(names)
        self._options, self._shape, self._personality_names = options, shape, names

    def clear(self) -> Done:
        """Takes back every fault and every answer. The personality stays."""
        gateway = self._running
        return self._host.change(self._control.take_all_back(), all(rule.at_once for rule in gateway.rules.all()))

    def _put(self, rule: Rule) -> FaultInForce:
        gateway, control, host = self._running, self._control, self._host

        def take_back() -> Done:
            return host.change(control.take_back(rule), rule.at_once) if host.serves(gateway) else Done()

        begun = host.change(control.put_in_force(rule), rule.at_once)
        return FaultInForce(
            rule,
            begun,
            take_back,
            lambda: host.call(lambda: tuple(rule.struck)),
            lambda: host.serves(gateway) and host.call(lambda: rule in gateway.rules.all()),
        )

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Done:
        """Moves the emulator's clock. What falls due on the way has happened at the return, in its order: ends of
        leases and of subscriptions, announcements. Raises ValueError for a negative time,
        RuntimeError with nftables."""
        whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if whole < 0:
            raise ValueError("time does not go back")
        return self._host.change(self._running.advance(whole))

    def change_wan(self, *, external_address: str | None = None, up: bool | None = None) -> Done:
        """Changes the external address (empty: there is none), or takes the WAN down or up; None: as it is.

        Clients learn it as from a router: by events, by a new epoch of NAT-PMP and PCP, or when they ask. Raises
        ValueError for text that is no IPv4 address.
        """
        before = self._running
        address = before.external_address if external_address is None else external_address
        return self._host.change(before.change_wan(address, before.wan_up if up is None else up))

    def reboot(self, *, keep_mappings: bool = False, new_urls: bool | None = None, new_port: bool = False) -> Done:
        """Stops the gateway, and starts it again on the same address and ports, with a new epoch and BOOTID.

        Subscriptions end. Without ``keep_mappings`` the mappings are lost. ``new_urls``: control URLs and UDN are
        new; None: where the mappings are lost. ``new_port``: another HTTP port too. Journal and faults stay.
        """
        changed = not keep_mappings if new_urls is None else new_urls
        return self._host.change(self._running.reboot(keep_mappings, new_urls=changed, new_port=new_port))

    def change_boot_id(self) -> Done:
        """Announces a new BOOTID (ssdp:update, then ssdp:alive), as a router does whose own addresses changed. It
        does not start again; subscriptions end (IGD section 7.3)."""
        return self._host.change(self._running.change_boot_id(), at_once=True)

    def lose_events(self, number: int) -> None:
        """The next so many events do not reach their subscribers: these see a gap in SEQ."""
        self.fault("event-lost", times=number)

    def reset(self) -> Done:
        """Forgets the requests, events and announcements, and takes back every fault and answer. Mappings and
        subscriptions stay."""
        self._host.call(self._running.forget)
        return self.clear()

    # -- its loop

    @property
    def _running(self) -> EmulatedGateway:
        return self._host.served

    def _held(self, kind: MappingKind, noun: str) -> LiveRecords[HeldMapping]:
        gateway, host = self._running, self._host
        held = gateway.held(kind) if host.on_its_loop else host.wait(gateway.settled_held(kind))
        return LiveRecords(HeldMapping, noun, held, Live(self._changes, lambda: self._held(kind, noun)))

    def _live(
        self, of: type[R], noun: str, read: Callable[[], Iterable[R]], again: Callable[[], LiveRecords[R]]
    ) -> LiveRecords[R]:
        return LiveRecords(of, noun, self._host.call(read), Live(self._changes, again))
