"""A delete that names a port and no protocol: what DeletePortMapping with an empty NewProtocol ends."""

from upnp_gw.engine.decider import Decider
from upnp_gw.gate.decide_removal import decide_removal
from upnp_gw.gate.decision import Outcome
from upnp_gw.ledger.igd_key import find
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Mapping, MappingKey, Transport
from upnp_gw.model.request import Refusal, Refused, Removed, Reply, UnmapPortRequest


def unmap_port(decider: Decider, transaction: Transaction, request: UnmapPortRequest, device: str) -> Reply:
    """Ends the requester's leases on an external port, over TCP and over UDP, and leaves what is another device's.

    Visibility ``all`` reaches no further: who names no protocol does not say whose mapping is meant.
    """
    table, network = decider.ledger.table, decider.environment.network
    keys = [MappingKey(transport, None, request.port, request.remote) for transport in Transport]
    found = [row for key in keys if (row := find(table, network, key, request.source, device)) is not None]
    own = [row for row in found if row.device == device]
    deleted: list[Mapping] = []
    denied: Refused | None = None
    for mapping in own or found[:1]:
        verdict = decide_removal(mapping, request.via, device, False, decider.in_force.policy.digest)
        if verdict.outcome is Outcome.ALLOW:
            decider.write_down(transaction, request, device, mapping, verdict)
            decider.end_hold(transaction, mapping, request.via)
            deleted.append(mapping)
        else:
            denied = decider.refuse_removal(transaction, request, device, mapping, verdict)
    if deleted:
        return Removed(tuple(deleted))
    return denied or Refused(Refusal.NO_SUCH, "there is no such mapping", None)
