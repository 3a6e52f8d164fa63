"""A gateway in memory for the tests of the IGD codec and the HTTP server: the table's rules, no gate, no kernel.

The real one has its own tests; this one knows just enough to be asked what the wire can ask.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, ip_interface
from uuid import UUID

from upnp_gw.ledger.plan import pinhole_key
from upnp_gw.model import DecisionId, Hold, Instant, Kind, Mapping, MappingKey, Transport, Via
from upnp_gw.network import Link, Network
from upnp_gw.protocols.description import root_device, udns
from upnp_gw.protocols.faces import Face
from upnp_gw.protocols.igd.engine import Answer, Caller, Change, Counted, perform
from upnp_gw.protocols.igd.layer3_forwarding import default_connection_service
from upnp_gw.protocols.igd.model import ServiceModels, service_descriptions
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.request import (
    ChangeRequest,
    Granted,
    Ipv6Firewall,
    MapRequest,
    PortChoice,
    Refusal,
    Refused,
    ReleaseRequest,
    Removed,
    Reply,
    Source,
    UnmapPortRequest,
    UnmapRangeRequest,
    UnmapRequest,
    WanStatus,
)
from upnp_gw.servers.action_model import load_service_models

ROOT = UUID("9f2c7a1e-3f7b-4d8e-8a53-0f3d1c2b4a69")
TOKEN = "token0123456789"
CLIENT = IPv4Address("192.168.77.10")
OTHER = IPv4Address("192.168.77.11")
EXTERNAL = IPv4Address("198.51.100.7")
LOOPBACK = Network(
    wan=Link("wan0", 9, True, (ip_interface("198.51.100.7/24"),)),
    lans=(Link("lo", 1, True, (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))),),
    external=(EXTERNAL,),
)
"""The loopback link as the LAN."""


def served_documents() -> dict[str, bytes]:
    """Every document of both faces, by its path."""
    documents: dict[str, bytes] = {}
    for face in Face:
        scpds = service_descriptions(face)
        device = root_device(
            face, ROOT, friendly_name="test", presentation_url="", token=TOKEN, scpds=scpds.values()
        )
        documents |= {device.path: device.description, **scpds}
    return documents


@cache
def service_models() -> ServiceModels:
    """The models, loaded once; safe to call where a loop runs, as loading them never waits."""
    loading = load_service_models(served_documents())
    try:
        loading.send(None)
    except StopIteration as done:
        models: ServiceModels = done.value
        return models
    raise AssertionError("loading the models waited for something")


def default_connection(face: Face) -> str:
    return default_connection_service(face, udns(ROOT, face))


class FakeGateway:
    """``handle`` and ``View`` over one list. What another internal client holds is hidden from a caller."""

    def __init__(self) -> None:
        self.now = Instant(1000.0, 1_800_000_000.0)
        self.table: list[Mapping] = []
        self.requests: list[ChangeRequest] = []
        self.refuse: Refused | None = None
        """Answers every request with this."""
        self.hang: asyncio.Event | None = None
        """Answers wait for this."""
        self.asked = asyncio.Event()
        """Set as soon as something is asked."""
        self.status = WanStatus("wan0", up=True, connected=True, uptime_s=77, external_address=EXTERNAL)
        self.counters = (11, 22, 33, 44)
        self.speed = 1_000_000_000
        self.update_id = 5
        self.firewall6 = Ipv6Firewall()
        self.counted = 0
        """Packets through every pinhole."""

    def advance(self, seconds: float) -> None:
        """Leases count down; what has ended is gone."""
        self.now = Instant(self.now.boot + seconds, self.now.wall + seconds)
        self.table = [mapping for mapping in self.table if mapping.until > self.now.boot]

    async def handle(self, request: ChangeRequest) -> Reply:
        self.asked.set()
        if self.hang is not None:
            await self.hang.wait()
        return self.reply(request)

    def reply(self, request: ChangeRequest) -> Reply:
        self.requests.append(request)
        if self.refuse is not None:
            return self.refuse
        match request:
            case MapRequest():
                return self._map(request)
            case UnmapRequest():
                return self._remove([m for m in self.table if m.key == request.key])
            case UnmapPortRequest():
                on_port = [m for m in self._visible() if m.key.external_port == request.port]
                return self._remove([m for m in on_port if m.key.remote == request.remote])
            case UnmapRangeRequest():
                return self._remove(
                    self.in_range(request.source, request.transport, request.start, request.end, False, 0)
                )
            case ReleaseRequest():
                raise TypeError("no control point of IGD asks for this")

    def _map(self, request: MapRequest) -> Reply:
        key = MappingKey(request.transport, None, request.external_port, request.remote)
        if request.internal.address.version == 6:
            key = pinhole_key(request)
        if key.external_port == 0:
            key = key._replace(external_port=40000)
        standing = next((m for m in self.table if m.key == key), None)
        if standing is not None and standing.internal.address != request.internal.address:
            if request.choice is PortChoice.EXACT:
                return Refused(Refusal.CONFLICT, "the external port is mapped to another device", None)
            key, standing = key._replace(external_port=key.external_port + 1), None
        lifetime = request.lifetime_s or 2_592_000
        mapping = Mapping(
            id=standing.id if standing else f"m{len(self.requests)}",
            key=key,
            internal=request.internal,
            device=str(request.internal.address),
            description=request.description,
            enabled=request.enabled,
            parked=False,
            holds=(Hold(request.via, self.now.boot + lifetime, request.lifetime_s),),
            granted_at=self.now.wall,
            decision=DecisionId("d1"),
            rule="test",
            recheck_at=self.now.boot + lifetime,
        )
        self.update_id += 1
        if standing is None:
            self.table.append(mapping)
        else:
            self.table[self.table.index(standing)] = mapping
        return Granted(mapping, lifetime, EXTERNAL, standing is not None)

    def _remove(self, doomed: Sequence[Mapping]) -> Reply:
        if not doomed:
            return Refused(Refusal.NO_SUCH, "there is no such mapping", None)
        self.table = [mapping for mapping in self.table if mapping not in doomed]
        self.update_id += 1
        return Removed(tuple(doomed))

    def hide(self, index: int) -> None:
        """Makes the mapping another device's."""
        self.table[index] = replace(self.table[index], device="hidden")

    def _visible(self) -> list[Mapping]:
        return [mapping for mapping in self.table if mapping.device != "hidden"]

    # -- View

    def pinhole(self, source: Source, unique_id: int) -> Mapping | Refused | None:
        found = next((m for m in self.table if m.kind is Kind.PINHOLE and m.unique_id == unique_id), None)
        if found is not None and found not in self._visible():
            return Refused(Refusal.NOT_AUTHORIZED, "another device holds it", DecisionId("d9"))
        return found

    def packets(self, mapping: Mapping) -> int:
        return self.counted

    def ipv6_firewall(self) -> Ipv6Firewall:
        return self.firewall6

    def idle_timeout_s(self, transport: Transport) -> int:
        return {Transport.TCP: 432000, Transport.UDP: 30}[transport]

    def find(self, source: Source, key: MappingKey) -> Mapping | Refused | None:
        found = next((mapping for mapping in self.table if mapping.key == key), None)
        if found is not None and found not in self._visible():
            return Refused(Refusal.NOT_AUTHORIZED, "another device holds it", DecisionId("d9"))
        return found

    def at(self, source: Source, index: int) -> Mapping | None:
        visible = self._visible()
        return visible[index] if index < len(visible) else None

    def count(self, source: Source) -> int:
        return len(self._visible())

    def in_range(
        self, source: Source, transport: Transport, start: int, end: int, everyone: bool, limit: int
    ) -> Sequence[Mapping]:
        found = [m for m in self._visible() if m.key.transport is transport and start <= m.key.external_port <= end]
        return found[:limit] if limit else found

    def left_s(self, mapping: Mapping, via: Via) -> int:
        left = max(1, int(mapping.until - self.now.boot))
        return min(left, 604800) if via is Via.IGD2 else left

    def system_update_id(self) -> int:
        return self.update_id

    def wan(self) -> WanStatus:
        return self.status

    def wan_counters(self) -> tuple[int, int, int, int]:
        return self.counters

    def wan_speed(self) -> int:
        return self.speed


def call(gateway: FakeGateway, face: Face, name: str, service: str = "WANIPConnection", **arguments: str) -> Answer:
    """What an action answers, without HTTP and SOAP. ``arguments`` by their SCPD names."""
    caller = Caller(face, Source(CLIENT, "lan0"), gateway, default_connection(face))
    outcome = perform(ROWS[service], service_models()[face, service], caller, name, tuple(arguments.items()))
    match outcome:
        case Change(request, answer):
            return answer(gateway.reply(request))
        case Counted(answer_counted):
            return answer_counted()
    return outcome


def mapping_arguments(**changed: str) -> dict[str, str]:
    """The eight arguments of AddPortMapping, with some changed."""
    return {
        "NewRemoteHost": "",
        "NewExternalPort": "21000",
        "NewProtocol": "TCP",
        "NewInternalPort": "21001",
        "NewInternalClient": str(CLIENT),
        "NewEnabled": "1",
        "NewPortMappingDescription": "a test",
        "NewLeaseDuration": "600",
    } | changed


def key_arguments(**changed: str) -> dict[str, str]:
    """The three arguments of Get and DeletePortMapping."""
    return {"NewRemoteHost": "", "NewExternalPort": "21000", "NewProtocol": "TCP"} | changed
