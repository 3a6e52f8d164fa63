"""The text of ``/metrics``."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from upnp_gw.control_client import ControlClient, Declined, Unreachable
from upnp_gw.metrics.devices import ShownDevices
from upnp_gw.metrics.families import families, notify_families
from upnp_gw.notify.counts import NotifyCounts

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Exposition:
    """Asks the daemon at each reading."""

    def __init__(self, client: ControlClient, most_devices: int, notified: NotifyCounts) -> None:
        self._client = client
        self._devices = ShownDevices(most_devices)
        self._notified = notified

    async def text(self) -> bytes:
        """The metrics of the gateway, of notifications, and of the page's own process."""
        try:
            measurements = await self._client.measurements()
        except (Unreachable, Declined):
            measurements = None
        registry = CollectorRegistry()
        registry.register(_Fixed([*families(measurements, self._devices), *notify_families(self._notified)]))
        ProcessCollector(registry=registry)
        return generate_latest(registry)


class _Fixed(Collector):
    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        return iter(self._found)
