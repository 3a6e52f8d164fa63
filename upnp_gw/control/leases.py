"""The operation ``take_over``: leases of the gateway that ran on this machine before."""

from upnp_gw import api
from upnp_gw.control.on_demand import DaemonParts
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.takeover import TakenLease, Takeover
from upnp_gw.model.mapping import Endpoint
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refused, Source


class LeaseCommands:
    """Each lease is decided as the request of its internal client, on that client's LAN."""

    def __init__(self, parts: DaemonParts) -> None:
        self._decider = parts.decider
        self._takeover = Takeover(parts.decider, parts.gateway)

    async def take_over(self, body: api.TakeOver) -> api.TakenOver:
        requests = [_request(self._decider, lease) for lease in body.leases]
        work = self._takeover.preview(requests) if body.preview else self._takeover.take(requests)
        return api.TakenOver(leases=[_answer(each, body.preview) for each in await work])


def _request(decider: Decider, lease: api.ForeignLease) -> MapRequest:
    """With its own external port and no other: the internet knows this one."""
    client, via = lease.client, lease.protocol
    return MapRequest(
        via=via,
        source=Source(client, decider.environment.network.lan_of(client)),
        transport=lease.transport,
        internal=Endpoint(client, lease.internal_port),
        external_port=lease.external_port,
        choice=PortChoice.EXACT,
        lifetime_s=lease.lease_s,
        remote=lease.remote,
        remote_port=lease.remote_port,
        description=lease.description,
    )


def _answer(taken: TakenLease, preview: bool) -> api.TakenLease:
    reply, outcome = taken.reply, taken.outcome
    if isinstance(reply, Granted):
        made = not preview or outcome == "stands"
        return api.TakenLease(
            outcome=outcome,
            mapping=reply.mapping.id if made else None,
            lease_s=reply.lifetime_s,
            decision=reply.mapping.decision if made else None,
            rule=taken.rule,
        )
    assert isinstance(reply, Refused)
    return api.TakenLease(
        outcome=outcome,
        decision=None if preview else reply.decision,
        rule=taken.rule,
        refusal=reply.refusal.value,
        message=reply.reason,
    )
