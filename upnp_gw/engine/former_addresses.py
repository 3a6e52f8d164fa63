"""A device with a new address asks again for the external port that it had at the old one.

DHCP can give a device another address; its MAC address identifies it. Its mapping moves along only if nobody
answers at the old address: a Wi-Fi extender shows its own MAC address for every host behind it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from upnp_gw.engine.decider import Asked, Decider, Parties
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import IPAddress, Mapping, Via
from upnp_gw.model.request import MapRequest, PortChoice

Submit = Callable[[Callable[[Transaction], None]], Awaitable[object]]
"""Puts one operation into the writer's queue."""


def in_the_way(decider: Decider, request: MapRequest, parties: Parties) -> list[Mapping]:
    """The device's mappings at other addresses with the requested external port; without one, those to the same
    internal port. Mappings of the operator and mappings to other devices are left out."""
    table = decider.ledger.table
    if request.via is Via.OPERATOR or request.pinhole or parties.delegated:
        return []
    if request.external_port:
        rows = table.on_port(request.transport, request.external_port)
    else:
        rows = [row for row in table.of_device(parties.owner) if row.internal.port == request.internal.port]
    if not rows:
        return []
    return [
        row
        for row in rows
        if row.device == parties.owner
        and row.internal.address.version == 4
        and row.internal.address != request.internal.address
        and (row.key.transport, row.key.remote) == (request.transport, request.remote)
        and not row.delegated
        and row.hold_of(Via.OPERATOR.protocol) is None
    ]


def parked_in_the_way(decider: Decider, request: MapRequest, parties: Parties) -> list[Mapping]:
    """The parked ones of ``in_the_way``: nobody answers at their address. Contested addresses are left out."""
    rows = in_the_way(decider, request, parties)
    contested = decider.environment.client_contested
    return [row for row in rows if row.parked and not contested(row.internal.address)]


def with_former_port(decider: Decider, asked: Asked) -> Asked:
    """The request with the device's former external port, if it leaves the port to the gateway."""
    request = asked.request
    if request.external_port or request.choice is PortChoice.EXACT:
        return asked
    rows = parked_in_the_way(decider, request, asked.parties)
    return asked.about(replace(request, external_port=rows[0].key.external_port)) if rows else asked


async def park_silent(decider: Decider, submit: Submit, request: MapRequest, parties: Parties) -> None:
    """Parks the mappings in the way of a request at addresses where nobody answers. Call it before the request.
    Takes up to 4 s for each address; no time if nothing is in the way."""
    rows = in_the_way(decider, request, parties)
    for address in {row.internal.address for row in rows if row.serves}:
        if await decider.environment.silent(address):
            await submit(partial(park, decider, device=parties.owner, address=address))


def park(decider: Decider, transaction: Transaction, device: str, address: IPAddress) -> None:
    """Parks a device's mappings at an address where nobody answers."""
    for mapping in decider.ledger.table.to_client(address):
        if mapping.device == device and mapping.serves and not mapping.delegated:
            transaction.put(replace(mapping, parked=True))
