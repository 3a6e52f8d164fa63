"""Checks the kernel against the ledger: nothing reaches a LAN host from the WAN but through a mapping.

Ledger and kernel are read between two operations of the writer, so that a lease that ends meanwhile is no finding.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.openings.findings import Proof
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.path import Place
from upnp_gw.firewall.openings.permits import Permit
from upnp_gw.firewall.openings.proof import prove
from upnp_gw.firewall.openings.reading import read_kernel
from upnp_gw.ledger.forwards import forwards_of
from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant, Mapping
from upnp_gw.model.network import Network


class KernelReader(Protocol):
    """The part of the firewall that reads the whole kernel."""

    async def read_with(self, read: Callable[[Session], KernelState]) -> KernelState:
        """The answer of ``read``, called on the thread of libnftables."""
        ...

    async def settled(self) -> None:
        """Returns when the flows that were to end are gone."""
        ...


class _Moment(NamedTuple):
    """Ledger and kernel at one moment."""

    network: Network
    permits: list[Permit]
    kernel: KernelState
    active: tuple[str, ...]


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
        moment = await self._gateway.undisturbed(self._read)
        proof = await asyncio.to_thread(prove, moment.kernel, moment.permits, Place.of(moment.network))
        return Answer(proof, moment.active)

    async def proof(self) -> Proof:
        """The proof alone."""
        return (await self.prove()).proof

    async def _read(self) -> _Moment:
        assert self._reader is not None
        await self._reader.settled()
        network = self._decider.environment.network
        ledger = self._decider.ledger
        permits = list(permits_of(ledger.table, list(ledger.cuts), network, self._decider.environment.clock()))
        place = Place.of(network)
        active = tuple(mapping.id for mapping in ledger.table if mapping.active)
        kernel = await self._reader.read_with(lambda session: read_kernel(session, place))
        return _Moment(network, permits, kernel, active)


def permits_of(table: MappingTable, cuts: Sequence[PendingCut], network: Network, now: Instant) -> Iterator[Permit]:
    """The openings by the ledger: active mappings, and the flows of those that were parked or have just ended."""
    for mapping in table:
        if mapping.enabled:
            yield from _permits(mapping, table, network, now)
    for cut in cuts:
        yield Permit.of(cut.forward(), network.external, ended=True)


def _permits(mapping: Mapping, table: MappingTable, network: Network, now: Instant) -> Iterator[Permit]:
    for forward in forwards_of(mapping, table, now):
        permit = Permit.of(forward, network.external, ended=not mapping.active)
        yield permit._replace(mapping=mapping.id)
