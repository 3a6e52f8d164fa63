"""Checks the kernel against the ledger: nothing reaches a LAN host from the WAN but through a mapping.

Ledger and kernel are read between two operations of the writer, so that a lease that ends meanwhile is no finding.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.openings.findings import Proof
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.path import Place
from upnp_gw.firewall.openings.permits import FIELDS, Permit, passing
from upnp_gw.firewall.openings.proof import prove
from upnp_gw.firewall.openings.reading import read_kernel
from upnp_gw.firewall.rules.packets import SADDR
from upnp_gw.firewall.rules.ranges import Ranges, both
from upnp_gw.gate.proof.boxes import UNDECIDED
from upnp_gw.gate.proof.opened import Opened, beyond
from upnp_gw.gate.proof.spans import IP6_BASE
from upnp_gw.gate.schema import KEPT_RULE, OPERATOR_RULE, Policy
from upnp_gw.ledger.forwards import forwards_of
from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant, Mapping, MappingKind, Screen
from upnp_gw.model.network import Network
from upnp_gw.system.process import give_back_memory


class KernelReader(Protocol):
    """The part of the firewall that reads the whole kernel."""

    async def read_with(self, read: Callable[[Session], KernelState]) -> KernelState:
        """The answer of ``read``, called on the thread of libnftables."""
        ...

    async def settled(self) -> None:
        """Returns when the flows that were to end are gone."""
        ...


class Openings(NamedTuple):
    """The openings by the ledger at one moment."""

    open: list[tuple[Mapping, Forward]]
    ended: list[tuple[Mapping | None, Forward]]
    """Their flows go on for a while: of mappings that were parked, and of those that have just ended (None)."""

    @property
    def active(self) -> tuple[str, ...]:
        """The ids of the active mappings."""
        return tuple(dict.fromkeys(mapping.id for mapping, _ in self.open))


class _Moment(NamedTuple):
    """Ledger and kernel at one moment."""

    network: Network
    policy: Policy
    openings: Openings
    kernel: KernelState


class Answer(NamedTuple):
    """A proof, and the active mappings of that moment."""

    proof: Proof
    active: tuple[str, ...]


class KernelProver:
    """``reader``: None for a backend that opens nothing."""

    def __init__(self, gateway: Gateway, decider: Decider, reader: KernelReader | None) -> None:
        self._gateway = gateway
        self._decider = decider
        self._reader = reader

    async def prove(self) -> Answer:
        """Reads and compares. The kernel is asked on its own thread, and the proof is made on another. Raises
        FirewallError where the kernel gives no answer."""
        if self._reader is None:
            raise FirewallError("the memory backend opens nothing: there is no kernel to check")
        try:
            moment = await self._gateway.undisturbed(self._read)
            proof = await asyncio.to_thread(compare, moment.kernel, moment.openings, moment.network, moment.policy)
            active = moment.openings.active
            del moment
        finally:
            await asyncio.to_thread(give_back_memory)
        return Answer(proof, active)

    async def proof(self) -> Proof:
        """The proof alone."""
        return (await self.prove()).proof

    async def _read(self) -> _Moment:
        assert self._reader is not None
        await self._reader.settled()
        around, ledger = self._decider.environment, self._decider.ledger
        network, policy = around.network, self._decider.in_force.policy
        openings = openings_of(ledger.table, list(ledger.cuts), around.clock())
        place = Place.of(network)
        kernel = await self._reader.read_with(lambda session: read_kernel(session, place))
        return _Moment(network, policy, openings, kernel)


def openings_of(table: MappingTable, cuts: Sequence[PendingCut], now: Instant) -> Openings:
    """The openings of these rows, and of the mappings whose flows are not cut yet."""
    found = Openings([], [(None, cut.forward()) for cut in cuts])
    for mapping in table:
        if mapping.enabled:
            forwards = forwards_of(mapping, table, now)
            if mapping.active:
                found.open.extend((mapping, forward) for forward in forwards)
            else:
                found.ended.extend((mapping, forward) for forward in forwards)
    return found


def compare(kernel: KernelState, openings: Openings, network: Network, policy: Policy) -> Proof:
    """The comparison. Takes a while with thousands of mappings, so it is made on a thread."""
    permits, problems = _permits(openings, network, policy)
    return prove(replace(kernel, problems=(*kernel.problems, *problems)), permits, Place.of(network))


def _permits(openings: Openings, network: Network, policy: Policy) -> tuple[list[Permit], list[str]]:
    """The permits, and a sentence for each mapping that cannot be judged."""
    hosts = {one: listed.ranges for one, listed in policy.screened.items()}
    screens: dict[tuple[Screen, int], Ranges | None] = {}
    permits: list[Permit] = []
    problems: list[str] = []
    everything = [*((one, forward, False) for one, forward in openings.open)]
    for mapping, forward, ended in [*everything, *((one, forward, True) for one, forward in openings.ended)]:
        at = forward.screen, forward.internal.address.version
        try:
            if at not in screens:
                screens[at] = passing(*at, hosts)
        except KeyError:
            problems.append(f"{forward.id} is for remote hosts of a list that the policy does not have now")
            continue
        permit = Permit.of(forward, network.external, ended, screened=screens[at])
        if mapping is not None:
            permit = permit._replace(mapping=mapping.id)
            allowed = ended or _allows(policy, mapping, forward, permit)
            if allowed is None:
                problems.append(f"it takes too much work to tell if the policy can allow {mapping.id}")
            permit = permit._replace(allowed=allowed is not False)
        permits.append(permit)
    return permits, problems


def _allows(policy: Policy, mapping: Mapping, forward: Forward, permit: Permit) -> bool | None:
    """True if a request of somebody, at some time, can get this opening by the policy; None: not known. Mappings of
    the operator, and those that a reload kept, are not the policy's."""
    if mapping.rule in (OPERATOR_RULE, KEPT_RULE):
        return True
    inner, outer = (forward.internal.port,) * 2, (forward.external_port,) * 2
    ports = None if forward.kind is MappingKind.PINHOLE else (outer,)
    base = IP6_BASE if permit.version == 6 else 0
    try:
        parts = beyond(policy, Opened(forward.transport, forward.internal.address, (inner,), ports))
    except UNDECIDED:
        return None
    remotes = permit.numbers[FIELDS.index(SADDR)]
    return not any(both(tuple((a - base, b - base) for a, b in part.remotes), remotes) for part in parts)
