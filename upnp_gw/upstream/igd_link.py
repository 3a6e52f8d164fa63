"""UPnP IGD with the gateway above, over IPv4: port mappings, and pinholes where it has WANIPv6FirewallControl.

Many gateways answer one thing and do another, so the entry is read after AddPortMapping (docs/testing-faults.md has
such ones).
"""

from collections.abc import Callable
from contextlib import suppress

from upnp_gw.model.above import AboveKey, AboveRequest
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
from upnp_gw.model.network import Network
from upnp_gw.model.request import Refusal
from upnp_gw.protocols.igd.control_call import ActionRefused
from upnp_gw.protocols.igd.foreign_description import (
    DESCRIPTION_MAX,
    ForeignDescription,
    ForeignService,
    parse_description,
)
from upnp_gw.upstream import igd
from upnp_gw.upstream.http import get
from upnp_gw.upstream.igd import NO_SUCH_ENTRY, Holder
from upnp_gw.upstream.outcome import NO_ADDRESS, Denial, Lease, NotServed, Outcome, checked, is_believed, leads_back
from upnp_gw.upstream.search import search
from upnp_gw.upstream.watch import LossWatch
from upnp_gw.upstream.way import Way

CONFLICT = frozenset({718, 724, 728, 729})
"""Another external port may be free."""
FAILED = 501
ONLY_PERMANENT = 725
UNKNOWN_ACTION = frozenset({401, 602})
OTHER_PORTS = 2
"""Further ports that are tried where the gateway above cannot choose one itself (version 1)."""
DENIALS = {
    606: (Refusal.NOT_AUTHORIZED, "it does not allow it"),
    701: (Refusal.TABLE_FULL, "it has no free port or no resources"),
    702: (Refusal.NOT_AUTHORIZED, "its firewall does not allow pinholes"),
    703: (Refusal.NOT_AUTHORIZED, "its firewall does not allow pinholes"),
    718: (Refusal.CONFLICT, "the external port is in use"),
    724: (Refusal.SAME_PORT, "external and internal port must be the same there"),
    728: (Refusal.TABLE_FULL, "it has no free port or no resources"),
    729: (Refusal.CONFLICT, "the external port is in use"),
}
"""Error code -> refusal and our words for it."""
OTHER_DENIAL = (Refusal.NO_EXTERNAL_ADDRESS, "it answered with an error")
NOT_KEPT = {
    Holder.NOBODY: Denial(Refusal.TABLE_FULL, "it confirmed the mapping and does not have it"),
    Holder.ANOTHER_HOST: Denial(Refusal.CONFLICT, "the external port is in use"),
    Holder.ANOTHER_PORT: Denial(Refusal.SAME_PORT, "external and internal port must be the same there", undo=True),
}
"""The owner of the port after it was granted -> the refusal."""
NOT_UNDERSTOOD = NotServed("its UPnP IGD cannot be understood")
NOT_REACHED = NotServed("its UPnP IGD cannot be reached")


class IgdLink:
    """``ask`` and ``release`` wait without end: the caller has a deadline. Neither raises."""

    def __init__(self, way: Way, watch: LossWatch, network: Callable[[], Network]) -> None:
        self.way = way
        self._watch = watch
        self._network = network
        self._description: ForeignDescription | None = None
        self._pinholes: dict[AboveKey, int] = {}
        """The UniqueIDs of open pinholes."""
        self._permanent_only = False

    @property
    def via(self) -> Via:
        """The version of its service."""
        connection = self._description.connection if self._description is not None else None
        return Via.IGD1 if connection is not None and connection.version == 1 else Via.IGD2

    async def answers(self) -> NotServed | None:
        """Searches for it and reads its description; None where IGD is served."""
        try:
            place = await search(self.way, self._watch.device)
            answer = await get(self.way, place, DESCRIPTION_MAX)
            if answer.status != 200:
                raise WireError("http-status")
            description = parse_description(answer.body, place)
            if len(description.connections) > 1:
                description = description.with_first(await self._connected(description.connections))
        except (OSError, WireError) as error:
            return _not_served(error)
        if description.connection is None and description.firewall is None:
            return NotServed("its UPnP IGD has no service for mappings")
        self._description = description
        return None

    def forget(self) -> None:
        """Searches again before the next request: the control URLs may be others now."""
        self._description = None

    async def ask(self, request: AboveRequest) -> Outcome:
        """Requests or renews. A mapping that cannot be used is deleted again."""
        service = await self._service(request)
        if isinstance(service, NotServed):
            return service
        asking = self._map if request.internal.address.version == 4 else self._open
        try:
            outcome = await asking(service, request)
            found = checked(outcome, request, self._network())
            if isinstance(found, Denial) and found.undo:
                port = outcome.external.port if isinstance(outcome, Lease) else request.wanted_port
                with suppress(ActionRefused):
                    await igd.delete_port_mapping(self.way, service, request, port)
        except ActionRefused as error:
            return denial_of(error.code)
        except (OSError, WireError) as error:
            self.forget()
            return _not_served(error)
        return found

    async def release(self, request: AboveRequest) -> Denial | NotServed | None:
        """Deletes; None: it is gone."""
        service = await self._service(request)
        if isinstance(service, NotServed):
            return service
        four = request.internal.address.version == 4
        try:
            try:
                await (self._delete(service, request) if four else self._close(service, request))
            except ActionRefused as error:
                gone = error.code in NO_SUCH_ENTRY or (four and await self._is_gone(service, request))
                return None if gone else denial_of(error.code)
        except (OSError, WireError) as error:
            self.forget()
            return _not_served(error)
        return None

    async def tell_address(self) -> bool:
        """Asks for the external address, which the watch gets; False: no answer that can be understood."""
        if self._description is None and await self.answers() is not None:
            return False
        service = self._description.connection if self._description is not None else None
        if service is None:
            return False
        try:
            address = await igd.external_address(self.way, service)
        except ActionRefused:
            return True
        except (OSError, WireError):
            self.forget()
            return False
        if address is not None and is_believed(address, self.way.source, self._network()):
            self._watch.external_told(address)
        return True

    async def _service(self, request: AboveRequest) -> ForeignService | NotServed:
        if self._description is None:
            failure = await self.answers()
            if failure is not None:
                return failure
        assert self._description is not None
        four = request.internal.address.version == 4
        service = self._description.connection if four else self._description.firewall
        return service or NotServed("its UPnP IGD has no service for this mapping", always=False)

    async def _connected(self, services: tuple[ForeignService, ...]) -> ForeignService:
        """The first one that has an external address: some gateways have several WAN connections."""
        for service in services:
            with suppress(ActionRefused, WireError):
                address = await igd.external_address(self.way, service)
                if address is not None and int(address):
                    return service
        return services[0]

    async def _map(self, service: ForeignService, request: AboveRequest) -> Outcome:
        """The external address comes first: a gateway that leads back to us is asked for nothing."""
        address = await igd.external_address(self.way, service)
        if address is None:
            return NO_ADDRESS
        external: IPAddress = address
        if address == self.way.source:  # it translates nothing: each host has its own address outside
            external = request.internal.address
        if external != request.internal.address and leads_back(external, self._network()):
            return Denial(Refusal.NO_EXTERNAL_ADDRESS, "it leads back to this gateway", loop=True)
        asked_s = min(request.lifetime_s, igd.LEASE_MOST_S)
        port = await self._add(service, request, 0 if self._permanent_only else asked_s)
        entry = await igd.entry_of(self.way, service, request, port)
        if entry.holder in NOT_KEPT:
            return NOT_KEPT[entry.holder]
        # its rules may have cut the lease; one without an end is renewed like the others
        return Lease(Endpoint(external, port), min(entry.left_s or asked_s, asked_s))

    async def _add(self, service: ForeignService, request: AboveRequest, lease_s: int) -> int:
        """The external port. Raises ActionRefused, WireError and OSError."""
        try:
            return await self._add_one_of(service, request, lease_s)
        except ActionRefused as error:
            if error.code != ONLY_PERMANENT or lease_s == 0:
                raise
        self._permanent_only = True  # our renewals and the delete are what ends it
        return await self._add_one_of(service, request, 0)

    async def _add_one_of(self, service: ForeignService, request: AboveRequest, lease_s: int) -> int:
        first = request.wanted_port
        # a renewal names the port that it has
        if service.version == 2 and not request.exact and not request.renews:
            try:
                return await igd.add_any_port_mapping(self.way, service, request, first, lease_s)
            except ActionRefused as error:
                if error.code not in UNKNOWN_ACTION:
                    raise
        ports = [first] if request.exact else other_ports(first, request.internal.port)
        for port in ports:
            try:
                await self._add_port(service, request, port, lease_s)
            except ActionRefused as error:
                if error.code not in CONFLICT or port == ports[-1]:
                    raise
            else:
                return port
        raise AssertionError("the last try returns or raises")

    async def _add_port(self, service: ForeignService, request: AboveRequest, port: int, lease_s: int) -> None:
        """AddPortMapping. Some gateways do it and answer 501; others refuse the renewal of a mapping with 718."""
        try:
            await igd.add_port_mapping(self.way, service, request, port, lease_s)
        except ActionRefused as error:
            if error.code not in (FAILED, *CONFLICT):
                raise
            entry = await igd.entry_of(self.way, service, request, port)
            if entry.holder is not Holder.OURS:
                raise
            if error.code != FAILED:
                await igd.delete_port_mapping(self.way, service, request, port)
                await igd.add_port_mapping(self.way, service, request, port, lease_s)

    async def _delete(self, service: ForeignService, request: AboveRequest) -> None:
        """A mapping that it may not have granted is looked at first: the port may be another host's."""
        if request.via is None and await self._is_gone(service, request):
            return
        await igd.delete_port_mapping(self.way, service, request, request.wanted_port)

    async def _is_gone(self, service: ForeignService, request: AboveRequest) -> bool:
        entry = await igd.entry_of(self.way, service, request, request.wanted_port)
        return entry.holder in (Holder.NOBODY, Holder.ANOTHER_HOST)

    async def _open(self, service: ForeignService, request: AboveRequest) -> Outcome:
        lease_s = min(request.lifetime_s, igd.PINHOLE_MOST_S)
        self._pinholes[request.key] = await igd.add_pinhole(self.way, service, request, lease_s)
        return Lease(request.internal, lease_s)

    async def _close(self, service: ForeignService, request: AboveRequest) -> None:
        """After a restart AddPinhole for the same pinhole tells its UniqueID."""
        unique_id = self._pinholes.pop(request.key, None)
        if unique_id is None:
            unique_id = await igd.add_pinhole(self.way, service, request, 1)
        await igd.delete_pinhole(self.way, service, unique_id)


def _not_served(error: OSError | WireError) -> NotServed:
    return NOT_REACHED if isinstance(error, OSError) else NOT_UNDERSTOOD


def denial_of(code: int) -> Denial | NotServed:
    """An error code as a refusal. Of an action that it does not have, the protocol is not served."""
    if code in UNKNOWN_ACTION:
        return NotServed("its UPnP IGD does not know the action")
    return Denial(*DENIALS.get(code, OTHER_DENIAL))


def other_ports(first: int, internal: int) -> list[int]:
    """The external ports in the order in which they are tried."""
    others = [1024 + (first * 7919 + other * 104_729) % 64_512 for other in range(1, OTHER_PORTS + 1)]
    return list(dict.fromkeys((first, internal, *others)))
