"""The last step of each operation: nothing opens to an address that several hosts claim."""

from dataclasses import replace

from upnp_gw.engine.decider import Decider
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.request import Granted, Reply


def park_contested(decider: Decider, transaction: Transaction, reply: Reply | None) -> Reply | None:
    """Parks mappings that a closed transaction would open to a contested address. Returns its reply, with the
    mapping as it is then. ``Transaction.uncontested``: addresses that were asked about already."""
    parked = False
    for before, mapping in transaction.pairs:
        if mapping is None or not mapping.active or mapping.internal.address in transaction.uncontested:
            continue
        if decider.environment.client_contested(mapping.internal.address):
            transaction.park(mapping, cut=before is not None and before.active)
            parked = True
    if not parked:
        return reply
    transaction.close()
    if not isinstance(reply, Granted):
        return reply
    now = transaction.ledger.table.get(reply.mapping.id)
    return replace(reply, mapping=now) if now is not None else reply
