"""The firewall of the emulator and the unit tests: the kernel's maps as a dict, with the same contract."""

import math
import time
from collections.abc import Callable, Mapping, Sequence

from upnp_gw.firewall.base import (
    Change,
    Close,
    Counters,
    Cut,
    Exchange,
    FirewallSettings,
    Forward,
    Growth,
    HostLists,
    Open,
    OverShare,
    Reading,
    Refill,
    UpdateHosts,
    UpdateNetwork,
    most_for_remotes,
)
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Endpoint, IPAddress, IPNetwork, MappingKind, Screen, Transport
from upnp_gw.model.network import Network

Slot = tuple[Transport, IPAddress | None, int, IPNetwork | None, int]


class MemoryFirewall:
    """Forwards end by the clock, as in the kernel: without a notice."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, tuple[Forward, float]] = {}
        self._slots: dict[Slot, str] = {}
        self._on_foreign_change: Callable[[str], None] = lambda what: None
        self.settings: FirewallSettings | None = None
        self.network: Network | None = None
        self.hosts: HostLists = {}
        """The remote hosts that screens may name."""
        self.applied: list[tuple[Change, ...]] = []
        """Every applied batch, for tests."""
        self.cuts: list[Forward] = []
        """The forwards whose flows were cut."""
        self.fail_next: list[str] = []
        """Faults for tests: the next ``apply`` raises FirewallError with the first one."""
        self.counters: dict[str, Counters] = {}
        """Forward id -> counters that ``read`` returns; set by tests."""
        self._reported: dict[str, Counters] = {}
        """Forward id -> its counters at the last ``read_growth``."""
        self.remotes: dict[str, frozenset[IPAddress]] = {}
        """Forward id -> the remote hosts with a live flow; set by tests."""
        self.over_share: tuple[OverShare, ...] = ()
        """The LAN hosts over their share; set by tests."""
        self.exchanges: dict[tuple[Transport, Endpoint], Exchange] = {}
        """The internal endpoints that answered; set by tests."""

    @property
    def installed(self) -> Mapping[str, tuple[Forward, float]]:
        """Forward id -> the forward, and when it ends by the clock. One that has ended may still be here."""
        return self._until

    async def open(self, settings: FirewallSettings, on_foreign_change: Callable[[str], None]) -> None:
        self.settings, self.network, self._on_foreign_change = settings, settings.network, on_foreign_change
        self.hosts = {}

    async def apply(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        if self.settings is None:
            raise FirewallError("the firewall is not open")
        if self.fail_next:
            raise FirewallError(self.fail_next.pop(0))
        before = dict(self._until), dict(self._slots), self.network, list(self.cuts), self.hosts
        try:
            for change in changes:
                self._apply(change)
            size, (single, many), stood = self.settings.size, _filled(self._slots), _filled(before[1])
            if single > max(size, stood[0]) or many > max(most_for_remotes(size), stood[1]):
                raise FirewallError("the table is full")
        except FirewallError:
            self._until, self._slots, self.network, self.cuts, self.hosts = before
            raise
        self.applied.append(tuple(changes))

    async def read(self, remotes: bool = False) -> Reading:
        now = self._clock()
        left = {i: until - now for i, (_, until) in self._until.items() if until > now}
        talking = {i: self.remotes[i] for i in left if i in self.remotes} if remotes else None
        counters = {i: self.counters.get(i, Counters(0, 0, 0)) for i in left}
        return Reading(left, counters, talking, self.over_share, self.exchanges if remotes else {})

    async def read_growth(self, remotes: bool = False, at_stop: bool = False) -> Growth:
        reading = await self.read(remotes)
        growth: dict[str, Counters] = {}
        for forward_id, now in reading.counters.items():
            increase = now.minus(self._reported.get(forward_id, Counters()))
            if increase != Counters():
                growth[forward_id] = increase
        self._reported = dict(reading.counters)
        return Growth(growth, reading.remotes, reading.over_share, reading.exchanges)

    async def close(self, flush: bool = False) -> None:
        if flush:
            self.cuts += [forward for forward, _ in self._until.values()]
            self._until.clear()
            self._slots.clear()
        self.settings = None

    def reach(
        self, transport: Transport, port: int, remote: IPAddress | None = None, host: IPAddress | None = None
    ) -> Forward | None:
        """The forward that lets in a connection to this external port now. ``host``: to this address without NAT;
        None: to the gateway's."""
        now = self._clock()
        for forward, until in self._until.values():
            if host != (forward.internal.address if forward.kind is MappingKind.PINHOLE else None):
                continue
            if until > now and (forward.transport, forward.external_port) == (transport, port):
                allowed = forward.remote
                if allowed is None and (not forward.screen.name or self._passes(forward.screen, remote)):
                    return forward
                if allowed is not None and remote is not None and remote in allowed:
                    return forward
        return None

    def _passes(self, screen: Screen, remote: IPAddress | None) -> bool:
        if remote is None:
            return False
        return all(self.hosts[one].has(remote) for one in screen.only) and not any(
            self.hosts[one].has(remote) for one in screen.never
        )

    def tamper(self, what: str = "table removed") -> None:
        """Somebody else removes the table: the maps are empty, and ``open``'s callback is called."""
        self._until.clear()
        self._slots.clear()
        self._on_foreign_change(what)

    def _apply(self, change: Change) -> None:
        match change:
            case Open(forward):
                before = self._until.get(forward.id)
                if before is not None and before[0].internal != forward.internal:
                    self.cuts.append(before[0])
                self._put(forward)
            case Close(forward):
                self._drop(forward)
            case Cut(forward):
                self.cuts.append(forward)
            case Refill(forwards):
                self._until.clear()
                self._slots.clear()
                for forward in forwards:
                    self._put(forward)
            case UpdateNetwork(network):
                self.network = network
            case UpdateHosts(hosts):
                self.hosts = hosts

    def _put(self, forward: Forward) -> None:
        self._drop(forward)
        self._sweep()
        slot = _slot(forward)
        if not {*forward.screen.only, *forward.screen.never} <= self.hosts.keys():
            raise FirewallError("a mapping is for remote hosts of a list that is not there")
        if slot in self._slots:
            raise FirewallError("another forward has this external port")
        self._until[forward.id] = (forward, self._clock() + max(1, math.ceil(forward.timeout_s)))
        self._slots[slot] = forward.id

    def _drop(self, forward: Forward) -> None:
        held = self._until.pop(forward.id, None)
        if held is not None:
            del self._slots[_slot(held[0])]

    def _sweep(self) -> None:
        now = self._clock()
        for forward, until in list(self._until.values()):
            if until <= now:
                self._drop(forward)


def _filled(slots: dict[Slot, str]) -> tuple[int, int]:
    """Counts the forwards without a remote host, and those for remote hosts and prefixes."""
    many = sum(remote is not None for _, _, _, remote, _ in slots)
    return len(slots) - many, many


def _slot(forward: Forward) -> Slot:
    return (
        forward.transport,
        forward.external_address,
        forward.external_port,
        forward.remote,
        forward.remote_port,
    )
