"""Mappings for the ledger's tests, made short."""

from ipaddress import IPv4Address, ip_address, ip_network

from upnp_gw.gate.decision import Allowed, Clamps, External, Outcome, Verdict
from upnp_gw.model import DecisionId, Endpoint, Hold, Instant, Mapping, MappingKey, Transport, Via
from upnp_gw.request import MapRequest, PortChoice, Source

NOW = Instant(boot=1000.0, wall=1_800_000_000.0)
CONSOLE, PC = "ac:89:95:00:00:01", "02:00:00:00:00:77"
CONSOLE_IP, PC_IP = IPv4Address("192.168.77.10"), IPv4Address("192.168.77.20")


def clamps(**changes: object) -> Clamps:
    values: dict[str, object] = {
        "max_ttl_s": 86400,
        "max_hold_s": 30 * 86400,
        "external_ports": ((1024, 65535),),
        "external": External.SAME_OR_ANY,
    }
    return Clamps(**{**values, **changes})  # type: ignore[arg-type]


def allowed(number: int = 1, **changes: object) -> Allowed:
    limits = clamps(**changes)
    verdict = Verdict(Outcome.ALLOW, "grant", None, ("allowed",), limits, "0" * 12)
    return Allowed(DecisionId(f"d{number}"), verdict, limits, "grant")


def mapping(
    number: int,
    port: int = 8080,
    *,
    device: str = CONSOLE,
    client: str = "192.168.77.10",
    internal: int | None = None,
    transport: Transport = Transport.TCP,
    remote: str | None = None,
    until: float = NOW.boot + 3600,
    via: Via = Via.IGD1,
    **changes: object,
) -> Mapping:
    address = ip_address(client)
    values: dict[str, object] = {
        "id": f"m{number}",
        "key": MappingKey(
            transport,
            address if address.version == 6 else None,
            port,
            ip_network(remote) if remote else None,
        ),
        "internal": Endpoint(address, internal or port),
        "device": device,
        "description": "",
        "enabled": True,
        "parked": False,
        "holds": (Hold(via, until, 3600),),
        "granted_at": NOW.wall,
        "decision": DecisionId("d1"),
        "rule": "grant",
        "recheck_at": until,
    }
    return Mapping(**{**values, **changes})  # type: ignore[arg-type]


def asks(
    port: int = 8080,
    *,
    client: str = "192.168.77.10",
    internal: int | None = None,
    via: Via = Via.IGD1,
    choice: PortChoice = PortChoice.EXACT,
    transport: Transport = Transport.TCP,
    remote: str | None = None,
    lifetime: int | None = 3600,
    **changes: object,
) -> MapRequest:
    values: dict[str, object] = {
        "via": via,
        "source": Source(ip_address(client), "lan0"),
        "transport": transport,
        "internal": Endpoint(ip_address(client), internal or port or 1),
        "external_port": port,
        "choice": choice,
        "lifetime_s": lifetime,
        "remote": ip_network(remote) if remote else None,
    }
    return MapRequest(**{**values, **changes})  # type: ignore[arg-type]
