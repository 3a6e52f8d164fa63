"""Every protocol at once, at random: what the gate allowed is what the kernel was given, no more and no less."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.fake_gateway import SERVICE_MODELS, default_connection
from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, GatewayFixture, asks, gateway_fixture
from tests.fixtures.policies import policy_of
from tests.fixtures.port5351 import CONSOLE_IP6, Line
from tests.protocols.test_port5351_fuzz import CLIENTS, SEEDS, mutated
from upnp_gw.firewall.base import Open
from upnp_gw.ledger.events import Decided
from upnp_gw.model.mapping import Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, Source, UnmapRequest
from upnp_gw.protocols.igd.engine import Caller, PendingAction, perform
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.igd_services import IgdVersion, service_of

STEPS = 3000
POLICY = """
default = "deny"
[limits]
per_device = 40
total_mappings = 80
requests_per_minute = 6000
incident_after = 1000
[[forbid]]
name = "never-remote-desktop"
int_ports = [3389]
[[grant]]
name = "console"
who = "@home"
family = ["ip4", "ip6"]
int_ports = ["1024-65535"]
[[grant]]
name = "web"
who = "*"
proto = ["tcp"]
int_ports = [8080]
[group]
home = ["console"]
[device.console]
mac = ["%s"]
"""
PC_IP6, STRANGER = "2001:db8:77::20", "192.168.77.99"
PORTS, ODD_PORTS = ("8080", "8080", "8081", "3074", "3389"), ("443", "0", "70000", "x")
HOSTS = (CONSOLE_IP, PC_IP, STRANGER, "192.168.77.1", "11.22.33.44", "8.8.8.8", "console", "")
HOSTS6 = (CONSOLE_IP6, PC_IP6, "2001:db8:77::1", "2001:db8:99::1", "::", "x")


@dataclass(slots=True)
class Everybody:
    """The clients of a home, each protocol in its own form."""

    home: GatewayFixture
    dice: random.Random = field(default_factory=lambda: random.Random(19))

    def mostly(self, usual: Sequence[str], odd: Sequence[str]) -> str:
        """One in eight is odd."""
        return self.dice.choice(usual if self.dice.randrange(8) else odd)

    def mapping(self, client: str) -> dict[str, str]:
        return {
            "NewRemoteHost": self.mostly(("", "", "203.0.113.9"), ("*", "peer.example")),
            "NewExternalPort": self.mostly(PORTS, ODD_PORTS),
            "NewProtocol": self.mostly(("TCP", "UDP"), ("ICMP",)),
            "NewInternalPort": self.mostly(PORTS, ODD_PORTS),
            "NewInternalClient": self.mostly((client,), HOSTS),
            "NewEnabled": "1",
            "NewPortMappingDescription": "x",
            "NewLeaseDuration": self.mostly(("0", "600"), ("604801", "-1")),
        }

    def pinhole(self, client: str) -> dict[str, str]:
        return {
            "RemoteHost": self.mostly(("", "2001:db8:a::2"), ("x",)),
            "RemotePort": self.mostly(("0", "443"), ("-1",)),
            "InternalClient": self.mostly((client,), HOSTS6),
            "InternalPort": self.mostly(PORTS, ODD_PORTS),
            "Protocol": self.mostly(("6", "17"), ("1", "65535")),
            "LeaseTime": self.mostly(("600", "1"), ("0", "90000")),
        }

    async def igd(self) -> None:
        igd_version = self.dice.choice(tuple(IgdVersion))
        client, client6 = self.dice.choice((CONSOLE_IP, PC_IP, STRANGER)), self.dice.choice((CONSOLE_IP6, PC_IP6))
        values = self.mapping(client)
        key = {name: values[name] for name in ("NewRemoteHost", "NewExternalPort", "NewProtocol")}
        number = {"UniqueID": str(self.dice.randrange(40))}
        service, name, arguments = self.dice.choice(
            (
                *(("WANIPConnection", "AddPortMapping", values),) * 3,
                ("WANIPConnection", "AddAnyPortMapping", values),
                ("WANIPConnection", "DeletePortMapping", key),
                *(("WANIPv6FirewallControl", "AddPinhole", self.pinhole(client6)),) * 2,
                ("WANIPv6FirewallControl", "UpdatePinhole", number | {"NewLeaseTime": "900"}),
                ("WANIPv6FirewallControl", "DeletePinhole", number),
            )
        )
        known = service_of(igd_version, service)
        if known is None:
            return
        source = Source(ip_address(client6 if service == "WANIPv6FirewallControl" else client), "lan0")
        caller = Caller(igd_version, source, self.home.view, default_connection(igd_version))
        outcome = perform(
            ROWS[service], SERVICE_MODELS[igd_version, service], caller, name, tuple(arguments.items())
        )
        if isinstance(outcome, PendingAction):
            outcome.answer(await self.home.gateway.handle(outcome.request))

    async def datagram(self) -> None:
        client = self.dice.choice(CLIENTS)
        await Line(self.home).answer_or_none(mutated(self.dice.choice(SEEDS), client, self.dice), client)

    async def operator(self) -> None:
        target = self.dice.choice((CONSOLE_IP, PC_IP, "8.8.8.8", "192.168.77.1"))
        port = self.dice.randrange(20_000, 20_020)
        reply = await self.home.gateway.handle(asks(port, "127.0.0.1", target=target, via=Via.OPERATOR))
        if isinstance(reply, Granted) and self.dice.random() < 0.5:
            removed = UnmapRequest(Via.OPERATOR, Source(ip_address("127.0.0.1"), ""), mapping_id=reply.mapping.id)
            await self.home.gateway.handle(removed)

    async def step(self) -> None:
        await self.dice.choice((self.igd, self.igd, self.igd, self.datagram, self.operator))()
        if self.dice.random() < 0.02:
            self.home.clock.pass_s(self.dice.choice((1, 60, 700)))
            await self.home.sweep()


@pytest.mark.spec("SR-19", "SR-2")
async def test_allowed_requests_are_exactly_the_installed_ones(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy_of(POLICY % CONSOLE)) as home:
        for address, mac in ((CONSOLE_IP6, CONSOLE), (PC_IP6, PC)):
            home.around.neighbours.learn(Neighbour(ip_address(address), mac, "lan0"))
        clients = Everybody(home)
        for _ in range(STEPS):
            await clients.step()
        opened = {
            change.forward.decision: change.forward
            for batch in home.firewall.applied
            for change in batch
            if isinstance(change, Open)
        }
        records = [event.record for event in home.events if isinstance(event, Decided)]
        allowed = {
            record.id: record for record in records if record.verdict == "allow" and record.mapping is not None
        }
        granted = {record.id for record in allowed.values() if record.action in ("map", "renew")}
        assert opened.keys() <= allowed.keys(), "nothing is opened without a yes"
        assert granted <= opened.keys(), "and every yes is carried out"
        assert {record.via for record in allowed.values()} == {"igd1", "igd2", "natpmp", "pcp", "operator"}
        assert {record.via for record in records if record.verdict == "deny"} >= {"igd1", "igd2", "natpmp", "pcp"}
        assert {forward.internal.address.version for forward in opened.values()} == {4, 6}
        for forward in opened.values():
            assert forward.internal.port != 3389 or allowed[forward.decision].via == "operator"
            assert home.around.network.on_lan(forward.internal.address)
            assert not home.around.network.is_gateway(forward.internal.address)
