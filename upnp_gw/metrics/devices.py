"""The devices that have metrics of their own: a bounded number, so that time series do not grow without end.

A device that has its own keeps them until the page ends. A free place goes to the device with the most bytes. So
the counter of ``other`` never falls: nobody leaves it once the places are full. Pure.
"""

from collections.abc import Sequence

from upnp_gw import api

OTHER = "other"


class ShownDevices:
    """``most``: the number of places."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._own: set[str] = set()

    def chosen(self, measurements: api.Measurements) -> tuple[list[api.DeviceTraffic], api.DeviceTraffic | None]:
        """The devices with metrics of their own, and the sum of the others; None: there are none."""
        by_bytes = sorted(measurements.devices, key=lambda one: (-one.bytes, one.device))
        for one in by_bytes:
            if len(self._own) >= self._most:
                break
            self._own.add(one.device)
        own = sorted((one for one in by_bytes if one.device in self._own), key=lambda one: one.device)
        rest = [one for one in by_bytes if one.device not in self._own]
        gone = measurements.other_devices_bytes, measurements.other_devices_connections
        return own, _sum(rest, *gone) if rest or any(gone) else None


def _sum(devices: Sequence[api.DeviceTraffic], size: int, connections: int) -> api.DeviceTraffic:
    return api.DeviceTraffic(
        device=OTHER,
        device_name=None,
        mappings=sum(one.mappings for one in devices),
        bytes=size + sum(one.bytes for one in devices),
        connections=connections + sum(one.connections for one in devices),
    )
