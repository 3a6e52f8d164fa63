"""Ends the mappings of a device and their flows at once: the operator revokes or blocks it, or it is in quarantine.

Each function is part of one ``Transaction`` and waits for nothing.
"""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from upnp_gw.ledger.reachable import with_holds
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import mac_of
from upnp_gw.model.mapping import Mapping, Via

if TYPE_CHECKING:
    from upnp_gw.engine.requests import RequestOperations


def revoke(operations: "RequestOperations", transaction: Transaction, device: str, why: str = "revoked") -> None:
    """Ends everything that a device holds, and its flows at once, those of what ended before among them."""
    for mapping in tuple(operations.ledger.table.of_device(device)):
        transaction.end(mapping, why)
    operations.ledger.cuts.hasten(device, transaction.now.boot)


def quarantine(operations: "RequestOperations", transaction: Transaction, device: str) -> None:
    """Ends the device's mappings, and those of others that lead to it, except the operator's own."""
    revoke(operations, transaction, device, "quarantine")
    for mapping in _leading_to(operations, device):
        if mapping.hold_of(Via.OPERATOR.protocol) is None:
            transaction.end(mapping, "quarantine")


def block(operations: "RequestOperations", transaction: Transaction, device: str) -> None:
    """Ends the device's mappings, those of others that lead to it, and the flows of both.

    A mapping that the operator added stays, with its flows: the operator decided about it, not the device. Where
    the device has a lease on it too, that lease ends.
    """
    for mapping in _concerning(operations, device):
        added = mapping.hold_of(Via.OPERATOR.protocol)
        if added is None:
            transaction.end(mapping, "revoked")
        elif len(mapping.holds) > 1:
            transaction.put(with_holds(mapping, (added,)))
    operations.ledger.cuts.hasten(device, transaction.now.boot)


def added_for(operations: "RequestOperations", devices: Iterable[str]) -> list[Mapping]:
    """The mappings that the operator added and that lead to one of the devices, oldest first."""
    found = {m.id: m for device in devices for m in _concerning(operations, device)}
    added = [mapping for mapping in found.values() if mapping.hold_of(Via.OPERATOR.protocol) is not None]
    return sorted(added, key=lambda mapping: mapping.granted_at)


def _concerning(operations: "RequestOperations", device: str) -> list[Mapping]:
    """The mappings that the device holds, and those that lead to it."""
    held = operations.ledger.table.of_device(device)
    return list({mapping.id: mapping for mapping in (*held, *_leading_to(operations, device))}.values())


def _leading_to(operations: "RequestOperations", device: str) -> tuple[Mapping, ...]:
    """The mappings to an address of the device, whoever holds them."""
    addresses = sorted(operations.environment.addresses_of(device), key=str)
    if mac_of(device) is None:  # it is told by its address
        with suppress(ValueError):
            addresses = [ip_address(device)]
    return tuple(m for address in addresses for m in operations.ledger.table.to_client(address))
