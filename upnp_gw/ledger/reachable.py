"""Compares the reachable endpoints of two rows, when one row of the ledger replaces another.

A request is a refresh only if it opens nothing (``opens``); everything else is decided as new. The end of a lease
opens nothing either (``with_holds``): only a request can, or the operator.
"""

from dataclasses import replace

from upnp_gw.ledger.filters import narrowed
from upnp_gw.model.mapping import Hold, Mapping, Via


def opens(before: Mapping | None, after: Mapping) -> bool:
    """True where ``after`` lets somebody reach something that ``before`` did not, or leads to another internal
    endpoint, enabled or not. A parked row counts as reachable: it comes back by itself with its device."""
    if before is None or (before.key, before.internal) != (after.key, after.internal):
        return True
    if not after.enabled:
        return False
    return not before.enabled or narrowed(after, before)


def no_wider(before: Mapping, after: Mapping, via: Via | None = None) -> Mapping | None:
    """The row after a refresh, open to nobody who could not connect before; None where there is no such row.

    The remote hosts that the grant allowed before stay, where the present one allows them too. NAT-PMP (``via``)
    knows no filters, so those of a PCP lease that has ended may stay in force for it; a client of another protocol
    would be told something else than is true.
    """
    kept = replace(after, filters=before.filters)
    hold = kept.hold_of(Via.NATPMP.protocol)
    if via is Via.NATPMP and hold is not None:
        kept = kept.with_hold(replace(hold, filters=before.requested_filters))
    return None if opens(before, kept) or opens(after, kept) else kept


def with_holds(mapping: Mapping, left: tuple[Hold, ...]) -> Mapping:
    """The mapping when some of its leases have ended. Where the FILTERs of one that ended kept others out, they
    stay in force until the client of a lease that is left asks again."""
    after = replace(mapping, holds=left)
    if not opens(mapping, after):
        return after
    return replace(after, holds=tuple(replace(hold, filters=mapping.requested_filters) for hold in left))
