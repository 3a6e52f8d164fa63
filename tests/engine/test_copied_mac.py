"""A guest LAN host with a copied MAC address changes no mapping of the device at home, whatever it asks."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, GUEST_IP, TWO_LANS, GatewayFixture, asks, gateway_fixture
from tests.fixtures.policies import policy_of
from upnp_gw.model.mapping import Endpoint, IPAddress, Mapping, MappingKey, RemotePeers, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import (
    ChangeRequest,
    MapRequest,
    PortChoice,
    ReleaseRequest,
    Source,
    UnmapPortRequest,
    UnmapRangeRequest,
    UnmapRequest,
)

CONSOLE_IP6, GUEST_IP6, LOCAL = "2001:db8:77::10", "2001:db8:88::10", "fe80::10"
HOME, TWIN = f"{CONSOLE}@lan0", f"{CONSOLE}@lan1"
SOURCES = [Source(ip_address(text), "lan1") for text in (GUEST_IP, GUEST_IP6, LOCAL)]
TARGETS = [ip_address(text) for text in (CONSOLE_IP, CONSOLE_IP6, GUEST_IP, GUEST_IP6)]
PORTS = [8080, 8081, 9090]
POLICIES = {
    "anybody": '[[grant]]\nname = "all"\nwho = "*"\nmax_mappings = 60\n',
    "the home zone": f"""
[device.console]
mac = "{CONSOLE}"
[zone]
home = ["192.168.77.0/24", "2001:db8:77::/64"]
[[grant]]
name = "at-home"
who = "console"
zone = "home"
""",
}


def a_request(random: Random, nonces: list[bytes | None]) -> ChangeRequest:
    """Anything that the twin can ask over any protocol."""
    source, target, port = random.choice(SOURCES), random.choice(TARGETS), random.choice(PORTS)
    via = random.choice([Via.IGD1, Via.IGD2, Via.NATPMP, Via.PCP])
    transport = random.choice(list(Transport))
    ways: list[Callable[[], ChangeRequest]] = [
        lambda: _map(random, via, source, transport, Endpoint(target, port), nonces),
        lambda: UnmapRequest(via, source, _key(transport, target, port)),
        lambda: UnmapPortRequest(via, source, port),
        lambda: UnmapRangeRequest(via, source, transport, 1, 65535, everyone=random.random() < 0.5),
        lambda: ReleaseRequest(via, source, transport, target, random.choice([0, port]), random.choice(nonces)),
    ]
    return random.choice(ways)()


def _map(
    random: Random, via: Via, source: Source, transport: Transport, internal: Endpoint, nonces: list[bytes | None]
) -> MapRequest:
    filtered = via is Via.PCP and random.random() < 0.3
    return MapRequest(
        via=via,
        source=source,
        transport=transport,
        internal=internal,
        external_port=random.choice(PORTS),
        choice=random.choice(list(PortChoice)),
        lifetime_s=random.choice([1, 600]),
        nonce=random.choice(nonces),
        enabled=random.random() < 0.7,
        filters=(RemotePeers(ip_network("203.0.113.9/32")),) if filtered else (),
        clear_filters=random.random() < 0.2,
        standing_only=random.random() < 0.2,
    )


def _key(transport: Transport, target: IPAddress, port: int) -> MappingKey:
    return MappingKey(transport, target if target.version == 6 else None, port, None)


def of_home(made: GatewayFixture) -> list[Mapping]:
    """The mappings of the console, and all others that lead to it."""
    table = made.decider.ledger.table
    leads = [row for text in (CONSOLE_IP, CONSOLE_IP6) for row in table.to_client(ip_address(text))]
    return sorted({row.id: row for row in (*table.of_device(HOME), *leads)}.values(), key=lambda row: row.id)


@pytest.mark.spec("SR-2", "SR-25")
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
async def test_no_request_of_a_copied_mac_address_touches_the_device(tmp_path: Path, policy: str) -> None:
    limits = "[limits]\nrequests_per_minute = 6000\nper_device = 60\nincident_after = 1000\n"
    async with gateway_fixture(tmp_path, policy_of(limits + policy), network=TWO_LANS) as fixture:
        for text, lan in ((CONSOLE_IP6, "lan0"), (LOCAL, "lan0"), *((s.address, s.interface) for s in SOURCES)):
            fixture.around.neighbours.learn(Neighbour(ip_address(text), CONSOLE, lan))
        nonce = b"n" * 12
        await fixture.granted(8080)
        await fixture.granted(8080, via=Via.PCP, choice=PortChoice.SUGGESTED, nonce=nonce)
        await fixture.granted(8081, transport=Transport.UDP, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
        await fixture.gateway.handle(asks(8080, CONSOLE_IP6, via=Via.IGD2))
        before = of_home(fixture)
        assert len(before) == 3
        assert {row.device for row in before} == {HOME}
        random, nonces = Random(7), [nonce, b"x" * 12, None]
        granted = 0
        for _ in range(600):
            request = a_request(random, nonces)
            granted += type(await fixture.gateway.handle(request)).__name__ == "Granted"
            assert of_home(fixture) == before, request
        assert bool(granted) == (policy == POLICIES["anybody"]), "it has its own, where the policy lets anybody"
