"""A real control point in a host of the lab: the IgdDevice of async-upnp-client, which Home Assistant uses.

``python -m upnp_gw.lab.control_point [--location URL] ADDRESS [ACTION...]`` searches from ADDRESS (or reads the
description at URL), runs the actions in order and prints one JSON object a line: the gateway, then the answer to
each action. An action is ``add:udp:3074:3074:3600`` (external port, internal port, lease in seconds) or
``delete:udp:3074``.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Any

import aiohttp
from async_upnp_client.aiohttp import AiohttpSessionRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.exceptions import UpnpActionError, UpnpError
from async_upnp_client.profiles.igd import IgdDevice
from async_upnp_client.search import async_search

ANY = IPv4Address("0.0.0.0")
SEARCH_S = 4
ROOTS = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
)


async def find(address: str) -> str | None:
    """The LOCATION of the first gateway that answers a multicast search sent from this address."""
    location: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def on_answer(headers: Mapping[str, Any]) -> None:
        if not location.done():
            location.set_result(str(headers["location"]))

    for target in ROOTS:
        search = asyncio.ensure_future(
            async_search(on_answer, timeout=SEARCH_S, search_target=target, source=(address, 0))
        )
        await asyncio.wait((search, location), return_when=asyncio.FIRST_COMPLETED)
        search.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await search
        if location.done():
            return location.result()
    return None


async def run_action(device: IgdDevice, address: str, action: str) -> dict[str, Any]:
    """Runs one action. The answer has ``ok``, and for a refusal its code and text."""
    verb, transport, port, *rest = action.split(":")
    try:
        if verb == "add":
            internal, lease = rest
            await device.async_add_port_mapping(
                remote_host=ANY,
                external_port=int(port),
                protocol=transport.upper(),
                internal_port=int(internal),
                internal_client=IPv4Address(address),
                enabled=True,
                description="IgdDevice",
                lease_duration=timedelta(seconds=int(lease)),
            )
        else:
            await device.async_delete_port_mapping(
                remote_host=ANY, external_port=int(port), protocol=transport.upper()
            )
    except UpnpActionError as refusal:
        return {"action": action, "ok": False, "code": refusal.error_code, "reason": refusal.error_desc}
    except UpnpError as failure:
        return {"action": action, "ok": False, "code": None, "reason": str(failure)}
    return {"action": action, "ok": True}


async def run(address: str, location: str | None, actions: list[str]) -> int:
    location = location or await find(address)
    if location is None:
        print(json.dumps({"found": None}))
        return 1
    # the gateway decides by the source address, so all connections use ADDRESS
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0))) as session:
        factory = UpnpFactory(AiohttpSessionRequester(session, timeout=10))
        device = IgdDevice(await factory.async_create_device(location), None)
        external = await device.async_get_external_ip_address()
        print(json.dumps({"found": location, "name": device.name, "external_address": external}))
        for action in actions:
            print(json.dumps(await run_action(device, address, action)), flush=True)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--location")
    parser.add_argument("actions", nargs="*")
    options = parser.parse_args()
    raise SystemExit(asyncio.run(run(options.address, options.location, options.actions)))


if __name__ == "__main__":
    main()
