"""``/metrics`` at a listener of its own, and in the operator's application."""

from ipaddress import ip_address
from pathlib import Path

from tests.fixtures.page_home import free_port, page_home
from upnp_gw.model.mapping import Endpoint

LOOPBACK = ip_address("127.0.0.1")


def devices_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("upnp_gw_device_bytes_total")]


async def test_both_listeners_show_the_same_devices(tmp_path: Path) -> None:
    listen = Endpoint(LOOPBACK, free_port())
    async with page_home(tmp_path, metrics_listen=listen, metrics_devices=1) as home:
        await home.home.granted(3074)
        async with home.operator() as operator:
            _, at_the_page = await operator.get("/metrics")
        async with home.browser() as anybody:
            async with anybody.session.get(f"http://{listen}/metrics") as own:
                text = await own.text()
                assert own.status == 200
                assert own.headers["Content-Type"].startswith("text/plain; version=")
            async with anybody.session.get(f"http://{listen}/") as other:
                assert other.status == 404, "the operator's page is not here"
        assert len(devices_in(text)) == 1
        assert devices_in(text) == devices_in(at_the_page)
