"""Changes of the ledger by an answer of the gateway above. Each function is part of one ``Transaction``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from upnp_gw.engine.above_rules import NONCE_BYTES, granted, lost
from upnp_gw.engine.decider import Decider
from upnp_gw.ledger.events import FirstMapping
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.above import AboveGranted, AboveRefused, AboveReply, AboveRequest, AboveSilent
from upnp_gw.model.mapping import Above, Mapping
from upnp_gw.model.records import DecisionRecord
from upnp_gw.model.request import Refusal, Refused

NOT_ASKED = "the gateway above was not asked yet"
ENDED = Refused(Refusal.NO_SUCH, "the mapping ended while it waited for the gateway above", None)
OTHER_PORT = "the gateway above gave another external port"
SILENCE_RETRY_S = 30
"""Seconds until a client should ask again after the gateway above was silent."""


@dataclass(slots=True)
class AskedAbove:
    """One mapping that the gateway above is asked for, and what becomes of it."""

    mapping_id: str
    nonce: bytes
    """Of its lease above when it was asked for."""
    request: AboveRequest | None
    """None: the WAN has no address to ask from."""
    record: DecisionRecord | None = None
    """The decision that allowed it here; None: the gateway renews it by itself."""
    first: FirstMapping | None = None
    """To announce when it is granted."""
    stands: bool = True
    """False: the gateway above is known to have lost it, or to have taken it back."""
    refused: Refused | None = None
    """Set by ``conclude``: the answer to its clients; None: it is granted."""
    unwanted: bool = field(default=False)
    """Set by ``conclude``: what may stand above has to be released."""
    closed: bool = False
    """Set by ``conclude``: it was open until now."""


def conclude(decider: Decider, asked: AskedAbove, reply: AboveReply, transaction: Transaction) -> None:
    """Opens the mapping, keeps it as it is, closes it, or takes it back. Sets ``refused`` and ``unwanted``."""
    row = decider.ledger.table.get(asked.mapping_id)
    asked.refused, asked.unwanted, asked.closed = None, False, False
    if row is None or row.above is None or row.above.nonce != asked.nonce:
        asked.refused, asked.unwanted = ENDED, not isinstance(reply, AboveRefused)
        return
    if isinstance(reply, AboveGranted) and not _is_other_port(asked.request, reply):
        transaction.put(granted(row, reply, transaction.now.boot))
        if asked.first is not None:
            transaction.announcements.append(asked.first)
        return
    asked.unwanted = isinstance(reply, AboveGranted) or (isinstance(reply, AboveSilent) and row.waits)
    _not_granted(decider, asked, _refusal(reply), row, transaction)


def _is_other_port(request: AboveRequest | None, reply: AboveGranted) -> bool:
    if request is None or not request.exact:
        return False
    wanted = request.external if request.external is not None else request.internal
    return reply.external.port != wanted.port


def _refusal(reply: AboveReply) -> Refused:
    match reply:
        case AboveRefused():
            return Refused(reply.refusal, reply.reason, None, reply.retry_s)
        case AboveSilent():
            return Refused(Refusal.GATEWAY_ABOVE, reply.reason, None, SILENCE_RETRY_S)
        case AboveGranted():
            return Refused(Refusal.CONFLICT, OTHER_PORT, None)


def _not_granted(
    decider: Decider, asked: AskedAbove, refused: Refused, row: Mapping, transaction: Transaction
) -> None:
    above, now = row.above, transaction.now.boot
    assert above is not None, "it was asked for"
    if row.waits:
        transaction.end(row, "refused-above")
    elif not above.granted:
        transaction.put(replace(row, above=replace(above, problem=refused.reason)))
    elif above.until > now and refused.refusal is Refusal.GATEWAY_ABOVE:
        return  # what it granted may still stand: the client gets the time that is left
    elif above.until <= now or not asked.stands:
        asked.closed = True
        transaction.put(lost(row, refused.reason))
    decision = None
    if asked.record is not None:
        decision = transaction.ledger.numbers.next_decision()
        transaction.records.append(_record(asked.record, decision, refused, transaction))
    asked.refused = replace(refused, decision=decision)


def _record(allowed: DecisionRecord, decision: str, refused: Refused, transaction: Transaction) -> DecisionRecord:
    """The record of a mapping that the gate allowed and the gateway above did not."""
    return msgspec.structs.replace(
        allowed,
        id=decision,
        at=transaction.now.wall,
        verdict="busy",
        refusal=refused.refusal.value,
        reasons=(*allowed.reasons, refused.reason),
        mapping=None,
    )


def lose(decider: Decider, ids: Iterable[str], reason: str, transaction: Transaction) -> None:
    """Closes mappings whose leases above have ended: the gateway above did not renew them."""
    for row in [decider.ledger.table.get(i) for i in ids]:
        if row is not None and row.above is not None and row.above.granted:
            transaction.put(lost(row, reason))


def withdraw(decider: Decider, mapping_id: str, transaction: Transaction) -> None:
    """Takes a mapping back that still waits for the gateway above."""
    row = decider.ledger.table.get(mapping_id)
    if row is not None and row.waits:
        transaction.end(row, "refused-above")


def take_back(stored: Sequence[Mapping], transaction: Transaction) -> None:
    """At a start: ends what waited when the program ended. Its client got no answer."""
    for row in stored:
        if row.waits:
            transaction.end(row, "refused-above")


def adjust(decider: Decider, transaction: Transaction) -> list[Mapping]:
    """After a start and a change of the WAN: mappings that now need the gateway above wait for it, and those that
    need it no more open without it. Returns the latter as they were."""
    rules, network = decider.above, decider.environment.network
    freed: list[Mapping] = []
    for row in list(decider.ledger.table):
        needed = rules is not None and rules.needs(row, network)
        if needed and row.above is None:
            nonce = next((hold.nonce for hold in row.holds if hold.nonce), None)
            nonce = nonce or decider.random.randbytes(NONCE_BYTES)
            transaction.put(replace(row, above=Above(nonce, transaction.now.boot, problem=NOT_ASKED)))
        elif row.above is not None and not needed and not row.waits:
            freed.append(row)
            transaction.put(replace(row, above=None))
    return freed
