"""``Firewall`` on nftables: one transaction for a batch. Flows are ended later, so that no request waits."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from upnp_gw.firewall.base import (
    TABLE,
    Change,
    Cut,
    FirewallMode,
    FirewallSettings,
    Growth,
    Open,
    Reading,
    Refill,
)
from upnp_gw.firewall.conntrack import end_all_let_in
from upnp_gw.firewall.flows import FlowsToEnd
from upnp_gw.firewall.libnftables import Session, TooLarge
from upnp_gw.firewall.netlink import NfnetlinkSocket
from upnp_gw.firewall.nftables import sysctl
from upnp_gw.firewall.nftables.counters import ElementReader, read_exchanges, read_snapshot
from upnp_gw.firewall.nftables.element_writer import ElementWriter, Writing, writer_of
from upnp_gw.firewall.nftables.flow_teardown import FlowTeardown
from upnp_gw.firewall.nftables.growth import ElementChange, GrowthReader
from upnp_gw.firewall.nftables.monitor import TableMonitor
from upnp_gw.firewall.nftables.ruleset import contents, deleted, rules, structure, version
from upnp_gw.firewall.nftables.ruleset_delta import RulesetDelta, delta_of
from upnp_gw.firewall.nftables.screening import Screening, needs_screens
from upnp_gw.firewall.nftables.screens import is_of_screens, own_maps
from upnp_gw.firewall.nftables.state import LIVE_GRACE_S, RulesetState
from upnp_gw.firewall.nftables.totals import Totals
from upnp_gw.firewall.other_tables.listing import foreign_ruleset, forward_filters
from upnp_gw.firewall.tables import OWN, has_chain, set_names, tables
from upnp_gw.model.errors import FirewallError
from upnp_gw.system.worker import Worker

log = logging.getLogger(__name__)
T = TypeVar("T")
REMOVE = f"add table {TABLE}\ndelete table {TABLE}\n"
"""Also where it is not there."""


class NftablesFirewall:
    """The real firewall of the network namespace in which ``open`` is first called."""

    def __init__(
        self,
        on_other_tables: Callable[[], None] = lambda: None,
        writing: Writing = Writing.NETLINK,
        *,
        live_grace_s: float = LIVE_GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_other_tables`` is called when another table changes, often while one is loaded. ``read_ruleset`` may
        then differ. ``writing``: how elements are written.

        ``live_grace_s``: seconds that live flows go on after their mapping's end if no Cut comes (router mode).
        """
        self._writing = writing
        self._writer: ElementWriter | None = None
        self._grace_s = live_grace_s
        self._clock = clock
        self._thread: Worker | None = None
        self._session: Session | None = None
        self._element_reader: ElementReader | None = None
        self._monitor: TableMonitor | None = None
        self._teardown: FlowTeardown | None = None
        self._settings: FirewallSettings | None = None
        self._state: RulesetState | None = None
        self._totals = Totals()
        self._growth: GrowthReader | None = None
        self._grown: set[str] = set()
        """The forwards with growth since the last reading with remote hosts."""
        self._on_other_tables = on_other_tables

    async def open(self, settings: FirewallSettings, on_foreign_change: Callable[[str], None]) -> None:
        """As the contract says. Mappings of a previous run stay only where the structure is the same."""
        if self._thread is None:
            self._thread = Worker("nftables")
            self._teardown = FlowTeardown()
            self._growth = GrowthReader(self._totals)
        try:
            await self._run(self._connect)
            if self._monitor is not None:
                self._monitor.close()
            self._monitor = TableMonitor(on_foreign_change, self._on_other_tables)
            await self._run(self._install, settings)
        except BaseException:
            if self._state is None:
                await self.close()
            raise
        self._settings = settings
        if self._state is None:
            self._state = RulesetState(settings.network, settings.size, self._grace_s)
        self._state.network, self._state.size = settings.network, settings.size
        self._state.router = settings.mode is FirewallMode.ROUTER
        self._state.special_until = 0.0  # the set may be a new one
        self._state.screens, self._state.hosts = (), {}

    async def apply(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        state, flow_teardown = self._require_open()
        # a mapping may be opened again while its former flows are being ended: new flows must not end with them
        await flow_teardown.settled_for(change.forward for change in changes if isinstance(change, Open))
        loop = asyncio.get_running_loop()

        def taken_over(flows: Sequence[FlowsToEnd]) -> None:
            loop.call_soon_threadsafe(partial(flow_teardown.end, flows, at_once=True))

        flows = await self._run(self._transact, state, changes, taken_over, then)
        if flows:
            flow_teardown.end(flows)
        if self._settings is not None and state.network is not self._settings.network:
            self._settings = replace(self._settings, network=state.network)
            if self._settings.mode is FirewallMode.ROUTER:
                await self._run(sysctl.switch_on, state.network.wan.name)

    async def read(self, remotes: bool = False) -> Reading:
        state, flow_teardown = self._require_open()
        screened = own_maps(state.screens)
        now = await self._run(lambda: read_snapshot(self._reader(), self._totals, screened))
        if not remotes:
            return now
        held = list(state.forwards.values())
        exchanges = await self._run(lambda: read_exchanges(self._reader()))
        return replace(now, remotes=await flow_teardown.peers(held, self._clock()), exchanges=exchanges)

    async def read_growth(self, remotes: bool = False, at_stop: bool = False) -> Growth:
        state, flow_teardown = self._require_open()
        assert self._growth is not None
        try:
            counters, over_share = await self._growth.read(at_stop, own_maps(state.screens))
            self._grown.update(counters)
            if not remotes:
                return Growth(counters, over_share=over_share)
            exchanges = await self._growth.exchanges()
        except OSError as error:
            raise FirewallError(f"the counters of our table cannot be read: {error.strerror}") from error
        grown = [held for one in self._grown if (held := state.forwards.get(one)) is not None]
        self._grown.clear()
        return Growth(counters, await flow_teardown.peers(grown, self._clock()), over_share, exchanges)

    async def close(self, flush: bool = False) -> None:
        if self._thread is None:
            return
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        try:
            if flush and self._state is not None:
                await self._flush(self._state)
        finally:
            if self._teardown is not None:
                await self._teardown.close()
            if self._growth is not None:
                await self._growth.close()
            await self._run(self._disconnect)
            self._thread.close()
            self._thread = self._teardown = self._growth = self._state = self._settings = None
            self._totals = Totals()

    @property
    def mode(self) -> FirewallMode | None:
        """None: not open."""
        return self._settings.mode if self._settings is not None else None

    async def read_ruleset(self) -> dict[str, Any]:
        """The other tables, for ``inspect``: libnftables' JSON without our table. Raises FirewallError."""
        self._require_open()
        return await self._run(lambda: foreign_ruleset(self._session_of_thread()))

    async def read_with(self, read: Callable[[Session], T]) -> T:
        """The answer of ``read``, which is called on the thread of libnftables. Raises what it raises."""
        self._require_open()
        return await self._run(lambda: read(self._session_of_thread()))

    async def settled(self) -> None:
        """Returns when every flow that the last ``apply`` ended is gone."""
        await self._require_open()[1].settled()

    def _require_open(self) -> tuple[RulesetState, FlowTeardown]:
        if self._state is None or self._teardown is None:
            raise FirewallError("the firewall is not open")
        return self._state, self._teardown

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        """Calls it on the one thread that owns the libnftables context."""
        assert self._thread is not None
        return await self._thread.run(partial(function, *args))

    def _screening(self, state: RulesetState) -> Screening:
        assert self._settings is not None
        settings = replace(self._settings, network=state.network)
        assert self._writer is not None
        return Screening(state, settings, self._session_of_thread().run, self._writer.fill_hosts)

    async def _flush(self, state: RulesetState) -> None:
        forwards = [held.forward(self._clock()) for held in state.forwards.values()]
        await self.apply([Refill(()), *map(Cut, forwards)])

    # On the nftables thread:

    def _connect(self) -> None:
        if self._session is None:
            self._session = Session()
            self._element_reader = ElementReader()
            self._writer = writer_of(self._writing, self._session)

    def _disconnect(self) -> None:
        if self._element_reader is not None:
            self._element_reader.close()
        if self._writer is not None:
            self._writer.close()
        self._session = self._element_reader = self._writer = None

    def _session_of_thread(self) -> Session:
        assert self._session is not None
        return self._session

    def _reader(self) -> ElementReader:
        assert self._element_reader is not None
        return self._element_reader

    def _install(self, settings: FirewallSettings) -> None:
        session = self._session_of_thread()
        router = settings.mode is FirewallMode.ROUTER
        if router and not settings.allow_other_forward:
            _refuse_other_forward(session)
        if not _renew(session, settings):
            if not router:
                _leave_router_mode(session)
            session.run(REMOVE + structure(settings) + contents(settings))
        if router:  # only now that the drops are in force
            sysctl.switch_on(settings.network.wan.name)

    def _transact(
        self,
        state: RulesetState,
        changes: Sequence[Change],
        taken_over: Callable[[Sequence[FlowsToEnd]], None],
        then: Callable[[], None] | None,
    ) -> Sequence[FlowsToEnd]:
        """Returns the flows to end. Those of a place that leads to another host now do not wait for ``then``."""
        screening = self._screening(state) if needs_screens(changes) else None
        undo = screening.prepare(changes) if screening is not None else None
        try:
            delta = delta_of(state, changes, self._clock())
            with ElementChange(self._totals, delta, self._reader()) as change:
                self._write(state, delta)
                # on this thread: kernel and state agree even if the caller is cancelled meanwhile
                delta.commit()
                change.done(state.forwards)
        except FirewallError:
            if undo is not None:
                undo()
            raise
        if screening is not None:
            screening.settle(changes)
        flows = delta.flows()
        if flows and delta.taken_over:
            taken_over(flows)
            flows = []
        if then is not None:
            then()
        return flows

    def _write(self, state: RulesetState, delta: RulesetDelta) -> None:
        assert self._writer is not None
        try:
            self._writer.write(delta.edits.whole())
        except TooLarge:
            if not delta.refilled:
                raise  # the engine then applies the operations one by one
            state.special_until = 0.0  # a later portion may fail
            for portion in delta.edits.portions():
                self._writer.write(portion)


def installed_mode() -> FirewallMode | None:
    """The mode of our table in this network namespace; None: no table. Blocks. Raises FirewallError.

    The closed table of examples/systemd is one of router mode.
    """
    if OWN not in tables():
        return None
    return FirewallMode.ROUTER if has_chain("input") else FirewallMode.ALONGSIDE


def uninstall() -> bool:
    """Removes our table from this network namespace; in router mode forwarding is switched off first. Then ends the
    flows that its mappings let in. Blocks.

    The answer says whether there was one. Raises FirewallError.
    """
    session = Session()
    if OWN not in tables():
        return False
    _leave_router_mode(session)
    session.run(REMOVE)
    try:
        with NfnetlinkSocket() as netlink:
            end_all_let_in(netlink)
    except OSError as error:
        log.warning("flows of the removed mappings go on: connection tracking cannot be read (%s)", error.strerror)
    return True


def _renew(session: Session, settings: FirewallSettings) -> bool:
    """Renews the rules of a table with this structure; False where there is none, or a damaged one."""
    if not has_chain(version(settings)):
        return False
    try:
        if left := [name for name in set_names() if is_of_screens(name)]:
            session.run(rules(settings) + deleted(left))  # of an earlier run
        session.run(contents(settings))
    except FirewallError as error:
        log.warning("our table is damaged (%s); it is installed again", error)
        return False
    return True


def _leave_router_mode(session: Session) -> None:
    if has_chain("input"):
        sysctl.switch_off()
        log.warning("forwarding is switched off, since the table that filters it is removed")


def _refuse_other_forward(session: Session) -> None:
    others = forward_filters(foreign_ruleset(session))
    if others:
        raise FirewallError(
            f"router mode owns the forward chain, but {', '.join(others)} already filters forwarded traffic:"
            " remove it, use alongside mode, or set allow_other_forward"
        )
