"""Compares the remote hosts and internal endpoints of two rows, when one row of the ledger replaces another.

A request is a refresh only if it opens nothing (``opens``). Any other request is decided as a new one. The end of a
lease opens nothing either (``with_holds``): only a request or the operator can.
"""

from dataclasses import replace

from upnp_gw.ledger.filters import is_narrower, narrowed
from upnp_gw.model.mapping import Hold, Mapping, Via


def opens(before: Mapping | None, after: Mapping) -> bool:
    """True if ``after`` lets somebody reach something that ``before`` did not, or leads to another internal
    endpoint, enabled or not. A parked row counts as reachable: it is opened again when its device answers. One that
    waited for the gateway above does not."""
    if (
        before is None
        or (before.waits and not after.waits)
        or (before.key, before.internal) != (after.key, after.internal)
    ):
        return True
    if not after.enabled:
        return False
    return not before.enabled or narrowed(after, before)


def no_wider(before: Mapping, after: Mapping, via: Via | None = None) -> Mapping | None:
    """The row after a refresh, open to nobody who could not connect before; None: there is no such row.

    The remote hosts of the previous grant stay if the present grant allows them too; its lists of hosts only if the
    present one has them. NAT-PMP (``via``) has no
    filters, so those of an expired PCP lease may stay in force for it. A reply over another protocol would not be
    true then.
    """
    if is_narrower(before.screen, after.screen) or (after.screen.name and before.filters):
        return None
    narrow = replace(after, filters=before.filters)
    hold = narrow.hold_of(Via.NATPMP.protocol)
    if via is Via.NATPMP and hold is not None:
        narrow = narrow.with_hold(replace(hold, filters=before.requested_filters))
    return None if opens(before, narrow) or opens(after, narrow) else narrow


def with_holds(mapping: Mapping, holds: tuple[Hold, ...]) -> Mapping:
    """The mapping with only these of its holds. If the FILTERs of an ended hold kept others out, they stay in
    force until the client of a remaining hold makes a new request."""
    after = replace(mapping, holds=holds)
    if not opens(mapping, after):
        return after
    return replace(after, holds=tuple(replace(hold, filters=mapping.requested_filters) for hold in holds))
