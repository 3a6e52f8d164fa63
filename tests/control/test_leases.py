"""The operation ``take_over``: leases of another gateway, by the control API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, NETWORK, PC_IP, GatewayFixture, gateway_fixture
from tests.fixtures.policies import policy_of
from upnp_gw import api
from upnp_gw.control.leases import LeaseCommands
from upnp_gw.control.serialize import Serializer
from upnp_gw.model.mapping import MappingKind, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.records import RecordFilter

CONSOLE_IP6 = "2001:db8:77::10"
POLICY = """
default = "deny"
[[forbid]]
name = "never-remote-desktop"
int_ports = [3389]
[[grant]]
name = "everyone"
who = "*"
family = ["ip4", "ip6"]
int_ports = ["1024-65535"]
"""


def lease(port: int = 8080, **changed: Any) -> api.ForeignLease:
    values: dict[str, Any] = {
        "transport": Transport.TCP,
        "external_port": port,
        "internal_client": CONSOLE_IP,
        "internal_port": port,
        "via": "igd1",
        "lease_s": 600,
    }
    return api.ForeignLease(**(values | changed))


@asynccontextmanager
async def house(directory: Path, policy: str = POLICY) -> AsyncIterator[tuple[GatewayFixture, LeaseCommands]]:
    async with gateway_fixture(directory, policy_of(policy)) as home:
        parts = SimpleNamespace(decider=home.decider, gateway=home.gateway)
        yield home, LeaseCommands(parts)  # type: ignore[arg-type]


async def ask(commands: LeaseCommands, *leases: api.ForeignLease, preview: bool = False) -> list[api.TakenLease]:
    return (await commands.take_over(api.TakeOver(leases=list(leases), preview=preview))).leases


async def test_the_answers_name_mapping_decision_and_rule(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, commands):
        leases = [lease(via="natpmp"), lease(3389), lease(80)]
        shown = await ask(commands, *leases, preview=True)
        taken = await ask(commands, *leases)
        again = await ask(commands, *leases[:1])
    assert taken == [
        api.TakenLease(outcome="taken", mapping="m1", lease_s=600, decision="d1", rule="everyone"),
        api.TakenLease(
            outcome="refused",
            decision="d2",
            rule="never-remote-desktop",
            refusal="not-authorized",
            message="forbidden by rule never-remote-desktop",
        ),
        api.TakenLease(
            outcome="refused",
            decision="d3",
            refusal="not-authorized",
            message="a port below 1024 needs a grant that names it",
        ),
    ]
    assert [(one.outcome, one.rule, one.message) for one in shown] == [
        (one.outcome, one.rule, one.message) for one in taken
    ]
    assert {(one.mapping, one.decision) for one in shown} == {(None, None)}
    assert again == [api.TakenLease(outcome="stands", mapping="m1", lease_s=600, decision="d1", rule="everyone")]


async def test_a_taken_lease_is_a_mapping_of_its_client_and_is_explained(tmp_path: Path) -> None:
    async with house(tmp_path) as (home, commands):
        await ask(commands, lease(via="pcp", internal_port=9000, description=""))
        [row] = await Serializer(home.decider).mappings(home.decider.ledger.table)
        assert (row.device, row.via, row.external_port, row.internal_port) == (CONSOLE, Via.PCP, 8080, 9000)
        [record] = await home.store.decisions(RecordFilter(id=row.decision))
        assert (record.action, record.address, record.description) == ("import", CONSOLE_IP, "")


async def test_a_pinhole(tmp_path: Path) -> None:
    async with house(tmp_path) as (home, commands):
        home.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP6), CONSOLE, "lan0"))
        wanted = lease(internal_client=CONSOLE_IP6, remote_host="2001:db8:9::1", remote_port=5000)
        assert [one.outcome for one in await ask(commands, wanted)] == ["taken"]
        [row] = home.decider.ledger.table
        assert (row.kind, str(row.key.remote), row.key.remote_port) == (
            MappingKind.PINHOLE,
            "2001:db8:9::1/128",
            5000,
        )


async def test_a_client_elsewhere_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, commands):
        outside, gateway = await ask(
            commands,
            lease(internal_client="10.1.2.3"),
            lease(internal_client=str(NETWORK.lans[0].addresses[0].ip)),
        )
        assert outside.message == "the internal client is not on a LAN of this gateway"
        assert gateway.outcome == "refused"


async def test_one_client_cannot_have_the_port_of_another(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, commands):
        first, second = await ask(commands, lease(), lease(internal_client=PC_IP))
        assert (first.outcome, second.outcome, second.refusal) == ("taken", "refused", "conflict")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"internal_client": "nas"}, "internal_client"),
        ({"internal_client": CONSOLE_IP6, "internal_port": 81}, "internal_port"),
        ({"remote_host": "2001:db8::1"}, "remote_host"),
        ({"remote_port": 80}, "remote_port"),
    ],
)
def test_a_lease_that_cannot_be(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(api.FieldError) as problem:
        lease(**changed)
    assert problem.value.field == field
