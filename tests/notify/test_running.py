"""From a request at a real gateway over the real page to a real receiver; and the metrics of the same home."""

import asyncio
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fixtures.gateway import PC_IP
from tests.fixtures.page_home import POLICY, page_home
from tests.fixtures.waiting import async_until
from tests.notify.receiver import receiver
from upnp_gw.config.notify_tables import EVENTS, NotifyTarget
from upnp_gw.ledger.events import DoubleNatFound
from upnp_gw.model.errors import ConfigError


async def test_everything_that_can_be_told_is_told_once_and_counted(tmp_path: Path) -> None:
    async with receiver() as here:
        target = NotifyTarget(url=here.url())
        async with page_home(tmp_path, notify=(target,)) as home, home.browser() as browser:
            gateway = home.home
            while not here.came:  # the page follows the events from some moment after its start on
                gateway.published.publish(DoubleNatFound(IPv4Address("100.64.3.4")))
                await asyncio.sleep(0.01)
            for _ in range(2):
                await gateway.granted(3074)
            await gateway.refused(9999, PC_IP)
            for port in (22, 23, 135, 137, 138):
                await gateway.refused(2000, PC_IP, internal=port)
            (tmp_path / "policy.toml").write_text(POLICY + "[[grant]]\n")
            (tmp_path / "policy.toml").chmod(0o644)
            with pytest.raises(ConfigError):
                await home.policy_updates.reload()
            await async_until(lambda: len(here.came) == 7)
            told = [one.headers["x-upnp-gw-event"] for one in here.came]
            assert told == [
                *("double-nat", "new-device", "first-mapping", "new-device", "question", "incident"),
                "policy-refused",
            ]
            assert set(told) == set(EVENTS)
            status, text = await browser.get("/metrics")
            assert "upnp_gw_" not in text, "nothing without a sign-in or a token"
            token = home.page.tokens.create("prometheus", acts=False, for_s=None)
            status, text = await browser.get("/metrics", Authorization=f"Bearer {token}")
            assert status == 200
            for line in (
                'upnp_gw_requests_total{protocol="igd1",verdict="allow"} 2.0',
                'upnp_gw_requests_total{protocol="igd1",verdict="ask"} 1.0',
                'upnp_gw_requests_total{protocol="igd1",verdict="deny"} 5.0',
                'upnp_gw_refusals_total{reason="not-authorized"} 5.0',
                "upnp_gw_incidents_open 1.0",
                "upnp_gw_questions_total 1.0",
                "upnp_gw_policy_reloads_refused_total 1.0",
                'upnp_gw_notify_messages_total{outcome="sent",target="0"} 7.0',
            ):
                assert line in text.splitlines()
