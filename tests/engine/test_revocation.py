"""The mappings that block, revoke, retract and release end, those that they leave, and their answers."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, NETWORK, PC_IP
from tests.fixtures.operator_commands import ASK, Served, served, written
from upnp_gw import api
from upnp_gw.model.mapping import Transport, Usage, Via
from upnp_gw.model.request import Refused, Removed

TCP = Transport.TCP
ROUTED_IP = "10.0.40.5"
WITH_FOR = f'{ASK}[[grant]]\nname = "web"\nwho = "*"\nint_ports = [8080]\nfor = ["{CONSOLE_IP}", "{PC_IP}"]\n'


async def blocked(here: Served, device: str = "console") -> api.Blocked:
    answer = await here.device_commands.block(device, api.Block())
    assert isinstance(answer, api.Blocked), answer
    return answer


def summaries(mappings: list[api.Mapping]) -> list[tuple[str, str, int, str, int]]:
    return [(m.id, m.transport.value, m.external_port, m.internal_client, m.internal_port) for m in mappings]


@pytest.mark.spec("SR-7")
@pytest.mark.parametrize("on_reload", ["revoke", "keep"])
async def test_block_lists_closed_mappings_and_leaves_those_of_the_operator(tmp_path: Path, on_reload: str) -> None:
    """It had ended the operator's own mappings too, and said nothing of any."""
    async with served(tmp_path, WITH_FOR, on_reload=on_reload) as here:
        written(await here.device_commands.allow("console", api.Allow(ports=[9000, 2222])))
        own = await here.home.granted(2222, via=Via.OPERATOR)
        both = await here.home.granted(2222, lifetime=600)  # the device renews it: two leases on one mapping
        assert both.mapping.id == own.mapping.id
        held = await here.home.granted(9001, internal=9000)
        others = await here.home.granted(8080, PC_IP, target=CONSOLE_IP)
        elsewhere = await here.home.granted(8081, PC_IP, internal=8080)
        await here.home.refused(7000)
        answer = await blocked(here)
        assert sorted(summaries(answer.closed)) == [
            (held.mapping.id, "tcp", 9001, CONSOLE_IP, 9000),
            (others.mapping.id, "tcp", 8080, CONSOLE_IP, 8080),
        ]
        assert (summaries(answer.left), answer.questions) == ([(own.mapping.id, "tcp", 2222, CONSOLE_IP, 2222)], 1)
        assert here.home.ports == {(TCP, 2222), (TCP, 8081)}
        assert {cut.external_port for cut in here.home.firewall.cuts} == {8080, 9001}
        (row,) = [row for row in here.home.decider.ledger.table if row.id == own.mapping.id]
        assert [hold.via for hold in row.holds] == [Via.OPERATOR]
        assert elsewhere.mapping.id in {row.id for row in here.home.decider.ledger.table}
        assert isinstance(await here.home.unmap(2222), Refused), "the blocked device does not end it"
        here.home.clock.pass_s(1800)
        await here.home.sweep()
        assert (TCP, 2222) in here.home.ports, "it is renewed as before"
        assert isinstance(await here.home.unmap(2222, via=Via.OPERATOR), Removed)
        assert here.home.ports == {(TCP, 8081)}


async def test_block_by_address_ends_mappings_of_others_to_the_device(tmp_path: Path) -> None:
    """Behind another router. With ``on_reload = "keep"`` the new policy alone would leave it open."""
    behind = replace(NETWORK, routed=(ip_network("10.0.40.0/24"),))
    text = WITH_FOR.replace(CONSOLE_IP, ROUTED_IP)
    async with served(tmp_path, text, on_reload="keep", network=behind) as here:
        others = await here.home.granted(8080, PC_IP, target=ROUTED_IP)
        own = await here.home.granted(2222, ROUTED_IP, via=Via.OPERATOR)
        answer = await blocked(here, ROUTED_IP)
        assert summaries(answer.closed) == [(others.mapping.id, "tcp", 8080, ROUTED_IP, 8080)]
        assert summaries(answer.left) == [(own.mapping.id, "tcp", 2222, ROUTED_IP, 2222)]
        assert here.home.ports == {(TCP, 2222)}


async def test_revoke_ends_and_lists_mappings_of_the_operator_too(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        own = await here.home.granted(2222, via=Via.OPERATOR)
        answer = await here.device_commands.revoke(CONSOLE)
        assert isinstance(answer, api.Revoked)
        assert summaries(answer.mappings) == [(own.mapping.id, "tcp", 2222, CONSOLE_IP, 2222)]
        assert answer.mappings[0].vias == [Via.OPERATOR]
        assert here.home.ports == set()


async def test_retract_and_release_list_closed_mappings(tmp_path: Path) -> None:
    """A rule whose end has passed leaves the file with the next change: what it granted ends with it."""
    async with served(tmp_path) as here:
        written(await here.device_commands.allow("console", api.Allow(ports=[8080])))
        held = await here.home.granted(8080)
        here.home.decider.ledger.usage[held.mapping.id] = Usage(connections=3, bytes=70)
        answer = written(await here.device_commands.retract("allow-console"))
        assert summaries(answer.closed) == [(held.mapping.id, "tcp", 8080, CONSOLE_IP, 8080)]
        assert (answer.closed[0].connections, answer.closed[0].bytes) == (3, 70), "as it was"
        assert here.home.ports == set()
        assert (await blocked(here)).closed == []
        written(await here.device_commands.allow(PC_IP, api.Allow(ports=[8081], for_s=3600)))
        later = await here.home.granted(8081, PC_IP)
        here.home.clock.pass_s(3500)
        await here.home.granted(8081, PC_IP)
        here.home.clock.pass_s(101)
        released = await here.device_commands.release("console")
        assert isinstance(released, api.Released)
        assert summaries(released.closed) == [(later.mapping.id, "tcp", 8081, PC_IP, 8081)]
        assert here.home.ports == set()
