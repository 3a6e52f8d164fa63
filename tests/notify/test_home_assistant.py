"""docs/home-assistant.md: the integration's reads, the REST sensors, and the automation, with Home Assistant's own
library and template language."""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import pytest
import yaml
from async_upnp_client.aiohttp import AiohttpNotifyServer, AiohttpRequester
from async_upnp_client.client import UpnpService, UpnpStateVariable
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.profiles.igd import IgdDevice, IgdState, IgdStateItem

from tests import ROOT
from tests.fixtures.fake_operator import MEASUREMENTS, FakeOperator
from tests.fixtures.waiting import async_until
from tests.notify.events import EVENTS
from tests.notify.receiver import receiver
from tests.notify.test_requests import message
from upnp_gw import api
from upnp_gw.config.page_settings import load_page
from upnp_gw.control.server import ControlServer
from upnp_gw.control_client import ControlClient
from upnp_gw.notify.delivery import Delivery
from upnp_gw.testing import Emulator

DOC = (ROOT / "docs" / "home-assistant.md").read_text("utf-8")


class Loader(yaml.SafeLoader):
    """With Home Assistant's tag for secrets."""


Loader.add_constructor("!secret", lambda loader, node: f"secret {node.value}")


def block(language: str, word: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL) if word in text]
    return str(found)


def rendered(template: str, **values: Any) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # as Home Assistant's
    return environment.from_string(template).render(values)


async def test_what_the_integration_reads_and_its_events() -> None:
    """As its ``device.py`` does: a lenient factory, events where the gateway has them, every item by a poll."""
    async with Emulator() as igd:
        requester = AiohttpRequester()
        server = AiohttpNotifyServer(requester, source=("127.0.0.1", 0))
        await server.async_start_server()
        try:
            root = await UpnpFactory(requester, non_strict=True).async_create_device(igd.location)
            device = IgdDevice(root, server.event_handler)
            seen: list[str] = []

            def on_event(service: UpnpService, variables: Sequence[UpnpStateVariable[object]]) -> None:
                seen.extend(variable.name for variable in variables)

            device.on_event = on_event
            await device.async_subscribe_services(auto_resubscribe=True)
            await async_until(lambda: "ExternalIPAddress" in seen and "ConnectionStatus" in seen)
            assert device.is_subscribed
            state = await device.async_get_traffic_and_status_data()
            _check(state, str(igd.external_address))
            assert state.port_mapping_number_of_entries == 0, "by an event: the standard has no action for it"
            await device.async_add_port_mapping(
                IPv4Address("0.0.0.0"), 8123, "TCP", 8123, IPv4Address("127.0.0.1"), True, "ha", timedelta(hours=1)
            )
            await async_until(lambda: device.port_mapping_number_of_entries == 1)
            await igd.change_wan(external_address="9.9.9.9")
            await async_until(lambda: device.external_ip_address == "9.9.9.9")
            polled = await device.async_get_traffic_and_status_data(set(IgdStateItem), force_poll=True)
            _check(polled, "9.9.9.9")
            assert (await device.async_get_traffic_and_status_data()).port_mapping_number_of_entries == 1
            assert (device.name, bool(device.udn), bool(device.manufacturer)) == ("upnp-gw", True, True)
            await device.async_unsubscribe_services()
        finally:
            await server.async_stop_server()


def _check(state: IgdState, external: str) -> None:
    for field, value in state._asdict().items():
        assert not isinstance(value, BaseException), f"{field}: {value!r}"
    assert (state.connection_status, state.external_ip_address) == ("Connected", external)
    assert isinstance(state.uptime, int)
    assert (state.bytes_sent, state.bytes_received, state.packets_sent, state.packets_received) == (0, 0, 0, 0)


async def test_the_rest_sensors_are_asked_and_their_templates_give_values(tmp_path: Path) -> None:
    (rest,) = yaml.load(block("yaml", "rest:"), Loader)["rest"]
    assert rest["headers"] == {"Authorization": "secret upnp_gw_token"}
    path = urlsplit(rest["resource"]).path
    (route,) = [route for route in api.ROUTES.values() if (route.method, route.path) == ("GET", path)]
    assert not route.stream, "the page passes on every other route"
    server, client = ControlServer(FakeOperator(), tmp_path), ControlClient(tmp_path)
    await server.start()
    status, body = await client.request("GET", path)
    await client.close()
    await server.close()
    assert status == 200
    value = json.loads(body)
    sensors = {each["name"]: rendered(each["value_template"], value_json=value) for each in rest["sensor"]}
    assert sensors == {
        "Gateway questions": "2",
        "Gateway incidents": "1",
        "Gateway mappings": "2",
        "Gateway refusals": "2",
    }
    (problem,) = rest["binary_sensor"]
    kinds = {}
    for kind in ("public", "private", "shared", "none"):
        value["address_kind"] = kind
        kinds[kind] = rendered(problem["value_template"], value_json=value)
    assert kinds == {"public": "False", "private": "True", "shared": "True", "none": "False"}
    assert MEASUREMENTS.address_kind == "shared"
    ids = [each["unique_id"] for each in (*rest["sensor"], problem)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.event))
async def test_the_automation_takes_what_the_page_sends(tmp_path: Path, event: api.Event) -> None:
    (automation,) = yaml.load(block("yaml", "automation:"), Loader)["automation"]
    (trigger,) = automation["triggers"]
    assert (trigger["trigger"], trigger["allowed_methods"]) == ("webhook", ["POST"])
    toml = block("toml", "[[notify]]")
    assert f"/api/webhook/{trigger['webhook_id']}" in toml
    async with receiver() as here:
        file = tmp_path / "gw.toml"
        file.write_text(toml.replace("http://homeassistant.lan:8123", here.url("")), "utf-8")
        (target,) = load_page(file, {}).notify
        delivery = Delivery(target, lambda: 0.0)
        assert (await delivery.send(message(event))).sent
        await delivery.close()
        (came,) = here.came
    assert came.path == f"/api/webhook/{trigger['webhook_id']}"
    assert came.headers["content-type"] == "application/json", "Home Assistant reads trigger.json only then"
    values = {"trigger": {"json": json.loads(came.body)}}
    (condition,) = automation["conditions"]
    wanted = event.event in ("question", "incident", "new-device", "double-nat")
    assert rendered(condition["value_template"], **values) == str(wanted)
    (action,) = automation["actions"]
    assert action["action"] == "notify.notify"
    assert rendered(action["data"]["title"], **values) == message(event).title
    assert rendered(action["data"]["message"], **values) == message(event).text, "and no template in it is run"
    assert rendered(action["data"]["data"]["tag"], **values) == event.id
