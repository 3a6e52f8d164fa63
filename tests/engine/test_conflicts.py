"""A port that is taken: the operator sees which mapping is in the way, a control point does not."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP
from tests.fixtures.operator_commands import ASK, served, written
from tests.fixtures.policy_reload import reload_home
from upnp_gw import api
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Mapping, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import PortChoice, Refused
from upnp_gw.protocols.igd.faults import fault_of
from upnp_gw.protocols.igd_services import IgdVersion

TCP = Transport.TCP
SIX = "2001:db8:77::10"
POLICY = f"""
version = 1
[device.nas]
mac = ["{CONSOLE}"]
[[grant]]
name = "all"
who = "*"
int_ports = ["1024-65535"]
"""


def held_by(mapping: Mapping) -> api.Holder:
    internal = mapping.internal
    return api.Holder(
        mapping=mapping.id,
        device=CONSOLE,
        device_name="nas",
        internal_client=str(internal.address),
        internal_port=internal.port,
        description=mapping.description,
    )


async def test_add_explain_and_try_name_the_holder(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        made = (await home.gateway_fixture.granted(8080, internal=8000, description="secret")).mapping
        holder = held_by(made)
        body = api.AddMapping(transport=TCP, external_port=8080, internal_client=PC_IP)
        problem = await home.operator.add(body)
        assert isinstance(problem, api.Problem)
        assert (problem.error, problem.holder) == ("conflict", holder)
        refused = await home.gateway_fixture.refused(8080, PC_IP)
        for decision in (problem.decision, refused.decision):
            explanation = await home.policy_commands.explain(str(decision))
            assert explanation is not None
            assert explanation.decision is not None
            assert (explanation.verdict, explanation.holder, explanation.decision.holder) == (
                "busy",
                holder,
                holder,
            )
        numbers = replace(home.gateway_fixture.decider.ledger.numbers)
        tried = await home.policy_commands.trial(api.Trial(address=PC_IP, transport=TCP, internal_port=8080))
        assert isinstance(tried, api.Explained)
        assert (tried.verdict, tried.refusal, tried.holder) == ("busy", "conflict", holder)
        assert tried.reasons[-2:] == ["granted by rule all", "the external port is mapped to another device"]
        free = await home.policy_commands.trial(api.Trial(address=PC_IP, transport=TCP, internal_port=8081))
        assert isinstance(free, api.Explained)
        assert (free.verdict, free.holder) == ("allow", None)
        own = await home.policy_commands.trial(
            api.Trial(device="nas", transport=TCP, internal_port=8000, external_port=8080)
        )
        assert isinstance(own, api.Explained)
        assert (own.verdict, own.holder) == ("allow", None), "it would renew its own"
        assert home.gateway_fixture.decider.ledger.numbers == numbers, "a trial uses up no number"
        await home.gateway_fixture.unmap(8080)
        await home.gateway_fixture.sweep()
        later = await home.policy_commands.explain(str(refused.decision))
        assert later is not None
        assert later.holder == holder, "as it was then"


async def test_a_trial_finds_a_port_free_that_the_request_would_free(tmp_path: Path) -> None:
    """The device has another address, and nobody answers at the one that its mapping leads to."""
    async with reload_home(tmp_path, POLICY) as home:
        gateway_fixture, old, new = home.gateway_fixture, ip_address(CONSOLE_IP), ip_address("192.168.77.11")
        await gateway_fixture.granted(8080)
        gateway_fixture.present ^= {old, new}
        gateway_fixture.around.neighbours.learn(Neighbour(new, CONSOLE, "lan0"))

        def forget_client(transaction: Transaction) -> None:
            gateway_fixture.reevaluation.device_gone(transaction, old)

        await gateway_fixture.gateway.submit(forget_client)
        tried = await home.policy_commands.trial(api.Trial(address=str(new), transport=TCP, internal_port=8080))
        assert isinstance(tried, api.Explained)
        assert tried.verdict == "allow"
        await gateway_fixture.granted(8080, str(new))


async def test_the_overlapping_pinhole_is_named(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        made = await home.gateway_fixture.granted(9000, SIX, via=Via.OPERATOR, remote="2001:db8:9::/48")
        problem = await home.operator.add(
            api.AddMapping(transport=TCP, external_port=9000, internal_client=SIX, remote_host="2001:db8:9:1::/64")
        )
        assert isinstance(problem, api.Problem)
        assert problem.holder is not None
        assert (problem.holder.mapping, problem.holder.internal_client) == (made.mapping.id, SIX)


async def test_an_approval_that_opens_nothing_names_the_holder(tmp_path: Path) -> None:
    async with served(tmp_path, ASK) as here:
        await here.home.refused(8080, PC_IP)
        own = await here.home.granted(8080, via=Via.OPERATOR)
        answer = written(await here.device_commands.approve("1", api.Approve()))
        assert isinstance(answer, api.Approved)
        assert answer.why_not == "the external port is mapped to another device"
        assert answer.holder is not None
        assert (answer.holder.mapping, answer.holder.device_name) == (own.mapping.id, "console")


@pytest.mark.spec("SR-25")
@pytest.mark.parametrize("via", [via for via in Via if via is not Via.OPERATOR])
async def test_no_control_point_learns_who_holds_the_port(tmp_path: Path, via: Via) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        made = (await home.gateway_fixture.granted(8080, internal=8000, description="secret")).mapping
        nonce = bytes(12) if via is Via.PCP else None
        reply = await home.gateway_fixture.map(8080, PC_IP, via=via, choice=PortChoice.EXACT, nonce=nonce)
        assert isinstance(reply, Refused)
        assert reply.holder is None
        answers = f"{reply.reason} {[fault_of(igd_version, reply) for igd_version in IgdVersion]}"
        for secret in (made.id, CONSOLE, CONSOLE_IP, "nas", "secret", "8000"):
            assert secret not in answers
