"""The control client for programs with an event loop, on a real control socket."""

from pathlib import Path

import pytest

from tests.fixtures.fake_operator import DEVICE, STATUS, FakeOperator, decision, mapping
from upnp_gw import api
from upnp_gw.control.server import ControlServer
from upnp_gw.control_client import ControlClient, Declined, Unreachable
from upnp_gw.model.mapping import DecisionId
from upnp_gw.model.request import Refusal, Refused


async def test_typed_answers_a_problem_and_the_events(tmp_path: Path) -> None:
    operator = FakeOperator()
    operator.held, operator.decided = [mapping(1)], [decision(1), decision(2, verdict="allow")]
    server, client = ControlServer(operator, tmp_path), ControlClient(tmp_path)
    await server.start()
    try:
        assert await client.status() == STATUS
        assert await client.mappings() == [mapping(1)]
        assert await client.mapping("m1") == mapping(1)
        assert await client.devices() == [DEVICE]
        assert [d.id for d in await client.decisions(verdict="deny", unchanged=False, rule=None)] == ["d1"]
        asked = operator.asked[-1]
        assert isinstance(asked, api.DecisionFilter)
        assert asked.unchanged is False
        with pytest.raises(Declined, match="there is no such id") as missing:
            await client.mapping("m/../1")
        assert (missing.value.status, missing.value.problem.error) == (404, "no-such-mapping")
        async with client.events() as events:
            removed = await client.delete("m1")
            assert removed == mapping(1)
            assert (await anext(events)).mapping == mapping(1)
            operator.refuse = Refused(Refusal.CONFLICT, "another host has the port", DecisionId("d7"))
            with pytest.raises(Declined) as declined:
                await client.add({"transport": "tcp", "external_port": 80, "internal_client": "192.168.1.2"})
            assert declined.value.problem.decision == "d7"
            operator.publish(None)
            assert [event async for event in events] == []
    finally:
        await client.close()
        await server.close()


async def test_no_daemon_and_no_permission_are_one_sentence_each(tmp_path: Path) -> None:
    client = ControlClient(tmp_path)
    with pytest.raises(Unreachable, match="upnp-gw is not running: nothing answers at"):
        await client.status()
    with pytest.raises(Unreachable, match="is not running"):
        async with client.events():
            pass
    await client.close()
