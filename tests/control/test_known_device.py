"""A device as the policy sees it, what a command would write, and whether a page for people runs."""

from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.fake_operator import FakeOperator
from tests.fixtures.gateway import CONSOLE, PC, PC_IP
from tests.fixtures.operator_commands import ASK, served, written
from tests.fixtures.waiting import async_until
from upnp_gw import api
from upnp_gw.control.known_device import KnownDeviceCommands
from upnp_gw.control.server import ControlServer
from upnp_gw.control.targets import Targets
from upnp_gw.engine.status_page import StatusPage
from upnp_gw.model.mapping import Transport

GRANTED = (
    ASK
    + """
[[grant]]
name = "games"
who = "console"
int_ports = [3074, "3478-3480"]
proto = ["udp"]
max_mappings = 4
hours = "08:00-22:00"
owner = "Ada"
reason = "games"
review_by = 2099-01-01
[[grant]]
name = "web"
who = "*"
int_ports = [8080]
approve = true
owner = "Ada"
reason = "web"
review_by = 2099-01-01
"""
)


async def test_the_rules_of_a_device_by_name_mac_and_address(tmp_path: Path) -> None:
    async with served(tmp_path, GRANTED) as here:
        known = KnownDeviceCommands(here.home.decider, Targets(here.home.decider, here.home.probe))
        written(await here.device_commands.allow(PC_IP, api.Allow(ports=[5000], for_s=3600)))
        console = await known.known("console")
        assert isinstance(console, api.KnownDevice)
        assert (console.device, console.name, console.default) == (CONSOLE, "console", "ask")
        assert await known.known(CONSOLE) == await known.known("192.168.77.10") == console
        forbid, games, web = console.rules
        assert (forbid.kind, forbid.everyone, forbid.internal_ports[:3]) == (
            "forbid",
            True,
            ["22-23", 135, "137-139"],
        )
        assert games == api.DeviceRule(
            kind="grant",
            name="games",
            everyone=False,
            transports=[Transport.UDP],
            families=["ip4", "ip6"],
            internal_ports=[3074, "3478-3480"],
            external_ports=[],
            remote_hosts=[],
            hours="08:00-22:00",
            max_mappings=4,
            review_by=games.review_by,
            owner="Ada",
            reason="games",
        )
        assert web.approval
        pc = await known.known(PC)
        assert isinstance(pc, api.KnownDevice)
        assert [(rule.name, rule.written) for rule in pc.rules] == [
            ("never-admin-ports", False),
            (f"allow-{pc.name}", True),
            ("web", False),
        ]
        missing = await known.known("10.0.0.1")
        assert isinstance(missing, api.Problem)
        assert missing.error == "not-found"


async def test_a_preview_is_what_would_be_written_and_writes_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        commands = here.device_commands
        await here.home.refused(8080, PC_IP)
        before = here.home.policy.digest
        previews = [
            await commands.name(PC_IP, api.NameDevice(name="pc", preview=True)),
            await commands.allow(PC_IP, api.Allow(ports=[5000], for_s=3600, preview=True)),
            await commands.block(PC_IP, api.Block(for_s=3600, preview=True)),
            await commands.approve("1", api.Approve(for_s=3600, preview=True)),
            await commands.deny("1", api.Deny(remember=True, for_s=3600, preview=True)),
        ]
        assert not here.file.exists()
        assert here.home.policy.digest == before
        assert len(await commands.queue()) == 1
        done = [
            await commands.name(PC_IP, api.NameDevice(name="pc")),
            await commands.allow("host-020000000077", api.Allow(ports=[5000], for_s=3600)),
        ]
        assert isinstance(done[1], api.Problem), "the first name was only a preview"
        assert [written(each).toml for each in previews[:1]] == [written(done[0]).toml]
        allowed = written(await commands.allow("pc", api.Allow(ports=[5000], for_s=3600)))
        assert "int_ports = [5000]" in allowed.toml
        assert "int_ports = [5000]" in written(previews[1]).toml
        written(await commands.block("pc", api.Block()))
        removed = await commands.release("pc", api.Preview(preview=True))
        assert isinstance(removed, api.Released)
        assert 'name = "block-pc"' in removed.removed
        assert 'name = "block-pc"' in here.file.read_text()
        kept = written(await commands.retract("allow-pc", api.Preview(preview=True)))
        assert 'name = "allow-pc"' in kept.toml
        assert 'name = "allow-pc"' in here.file.read_text()


async def test_the_page_is_there_as_long_as_its_stream(tmp_path: Path) -> None:
    page = StatusPage()
    server = ControlServer(FakeOperator(), tmp_path, page_runs=page.runs)
    await server.start()
    connector = aiohttp.UnixConnector(str(tmp_path / "control.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://localhost/v1/events?page_port=5080") as stream:
            await stream.content.readline()
            assert page.port == 5080
            async with session.get("http://localhost/v1/events") as other:
                await other.content.readline()
                assert page.port == 5080
        await async_until(lambda: page.port == 0)
        async with session.get("http://localhost/v1/events?page_port=0") as refused:
            assert refused.status == 400
            assert "a port 1 to 65535" in (await refused.json())["message"]
    await server.close()


@pytest.mark.parametrize("ports", [[5080], [5080, 6080]])
def test_of_two_pages_the_one_that_came_last_counts(ports: list[int]) -> None:
    page = StatusPage()
    with page.runs(ports[0]):
        if len(ports) > 1:
            with page.runs(ports[1]):
                assert page.port == ports[1]
        assert page.port == ports[0]
    assert page.port == 0
