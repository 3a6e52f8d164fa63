"""The devices with metrics of their own."""

from msgspec.structs import replace

from tests.fixtures.fake_operator import MEASUREMENTS
from upnp_gw import api
from upnp_gw.metrics.devices import OTHER, ShownDevices


def measured(**sizes: int) -> api.Measurements:
    made = [
        api.DeviceTraffic(device=name, device_name=None, mappings=1, bytes=size, connections=1)
        for name, size in sizes.items()
    ]
    return replace(MEASUREMENTS, devices=made, other_devices_bytes=0, other_devices_connections=0)


def shown(devices: ShownDevices, **sizes: int) -> dict[str, int]:
    own, others = devices.chosen(measured(**sizes))
    return {one.device: one.bytes for one in ([*own, others] if others is not None else own)}


def test_the_busiest_devices_get_the_places_and_keep_them() -> None:
    devices = ShownDevices(2)
    assert shown(devices, a=1, b=3, c=2) == {"b": 3, "c": 2, OTHER: 1}
    assert shown(devices, a=100, b=3, c=2) == {"b": 3, "c": 2, OTHER: 100}, (
        "a counter never moves to another series"
    )
    assert shown(devices, a=100, b=3, d=5) == {"b": 3, OTHER: 105}, "the place of a device that is gone is kept"


def test_a_free_place_goes_to_a_new_device_and_without_others_there_is_no_series_for_them() -> None:
    devices = ShownDevices(3)
    assert shown(devices, a=1) == {"a": 1}
    assert shown(devices, a=1, b=2) == {"a": 1, "b": 2}
    assert shown(ShownDevices(0), a=1, b=2) == {OTHER: 3}


def test_traffic_of_forgotten_devices_is_with_the_others() -> None:
    own, others = ShownDevices(9).chosen(MEASUREMENTS)
    assert len(own) == 4
    assert others is not None
    assert (others.bytes, others.connections, others.mappings) == (7, 1, 0)
