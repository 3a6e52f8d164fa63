"""Ends the mappings of a device and their flows at once: the operator revokes or blocks it, or it is in quarantine.

Each function is part of one ``Transaction`` and waits for nothing.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

from upnp_gw.engine.decider import Decider
from upnp_gw.gate.decision import Facts, Verdict
from upnp_gw.ledger.events import IncidentBegan
from upnp_gw.ledger.reachable import with_holds
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import mac_of
from upnp_gw.model.mapping import Mapping, Via
from upnp_gw.model.request import MapRequest


def revoke(decider: Decider, transaction: Transaction, device: str, why: str = "revoked") -> None:
    """Ends everything that a device holds, and its flows at once, those of what ended before among them."""
    for mapping in tuple(decider.ledger.table.of_device(device)):
        transaction.end(mapping, why)
    decider.ledger.cuts.expedite(device, transaction.now.boot)


def quarantine(decider: Decider, transaction: Transaction, device: str) -> None:
    """Ends the device's mappings, and those of others that lead to it, except the operator's own."""
    revoke(decider, transaction, device, "quarantine")
    for mapping in _leading_to(decider, device):
        if mapping.hold_of(Via.OPERATOR.protocol) is None:
            transaction.end(mapping, "quarantine")


def block(decider: Decider, transaction: Transaction, device: str) -> None:
    """Ends the device's mappings, those of others that lead to it, and the flows of both.

    A mapping that the operator added stays, with its flows: the operator decided about it, not the device. Where
    the device has a lease on it too, that lease ends.
    """
    for mapping in _concerning(decider, device):
        added = mapping.hold_of(Via.OPERATOR.protocol)
        if added is None:
            transaction.end(mapping, "revoked")
        elif len(mapping.holds) > 1:
            transaction.put(with_holds(mapping, (added,)))
    decider.ledger.cuts.expedite(device, transaction.now.boot)


def added_for(decider: Decider, devices: Iterable[str]) -> list[Mapping]:
    """The mappings that the operator added and that lead to one of the devices, oldest first."""
    found = {m.id: m for device in devices for m in _concerning(decider, device)}
    added = [mapping for mapping in found.values() if mapping.hold_of(Via.OPERATOR.protocol) is not None]
    return sorted(added, key=lambda mapping: mapping.granted_at)


def _concerning(decider: Decider, device: str) -> list[Mapping]:
    """The mappings that the device holds, and those that lead to it."""
    held = decider.ledger.table.of_device(device)
    return list({mapping.id: mapping for mapping in (*held, *_leading_to(decider, device))}.values())


def _leading_to(decider: Decider, device: str) -> tuple[Mapping, ...]:
    """The mappings to an address of the device, held by any device."""
    addresses = sorted(decider.environment.addresses_of(device), key=str)
    if mac_of(device) is None:  # it is recognised by its address
        with suppress(ValueError):
            addresses = [ip_address(device)]
    return tuple(m for address in addresses for m in decider.ledger.table.to_client(address))


def count_refusal(
    decider: Decider,
    transaction: Transaction,
    request: MapRequest,
    facts: Facts,
    verdict: Verdict,
    asks: bool = True,
) -> None:
    """A refusal may be evidence against the device. ``asks``: the device sent the request to this gateway."""
    if not asks:
        return
    incident = decider.history.count_refusal(facts.device, request, verdict, transaction.now, facts.today)
    if incident is not None:
        transaction.announcements.append(IncidentBegan(incident))
        transaction.on_undo.append(partial(decider.history.withdraw_incident, incident))
        if incident.quarantines:
            quarantine(decider, transaction, incident.device)
