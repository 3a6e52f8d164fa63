"""The different internal ports of a day, ``max_ports_per_day``, outlive a restart and a crash."""

from datetime import date
from pathlib import Path
from shutil import copytree

import pytest

from tests.fixtures.gateway import GatewayFixture, asks, gateway_fixture
from upnp_gw.gate.load import load_text
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import Granted, Refusal, Refused

POLICY = load_text(
    """
version = 1
default = "deny"
[[grant]]
name = "three-a-day"
who = "*"
max_ports_per_day = 3
""",
    "test",
    date.min,
).policy
THREE = (5000, 5001, 5002)


async def is_refused(home: GatewayFixture, port: int, via: Via) -> bool:
    reply = await home.gateway.handle(asks(port, via=via))
    if isinstance(reply, Granted):
        return False
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.NOT_AUTHORIZED
    assert "different ports today" in reply.reason
    return True


@pytest.mark.parametrize("via", [Via.IGD1, Via.NATPMP, Via.PCP])
@pytest.mark.parametrize("crash", [True, False], ids=["crash", "stop"])
async def test_a_restart_gives_no_device_more_ports_a_day(tmp_path: Path, via: Via, crash: bool) -> None:
    """A crash leaves the files as they are after the reply to the third request."""
    before, crashed = tmp_path / "before", tmp_path / "crashed"
    before.mkdir()
    async with gateway_fixture(before, POLICY) as home:
        assert [await is_refused(home, port, via) for port in THREE] == [False] * 3
        copytree(before, crashed)
        assert await is_refused(home, 5003, via)
    async with gateway_fixture(crashed if crash else before, POLICY) as home:
        assert await is_refused(home, 5003, via)
        assert [await is_refused(home, port, via) for port in THREE] == [False] * 3
        home.clock.pass_s(24 * 3600)
        assert not await is_refused(home, 5003, via)
