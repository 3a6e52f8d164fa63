"""The counts and times of a run."""

from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, PC, PC_IP, Clock, GatewayFixture, asks, gateway_fixture
from tests.fixtures.policies import policy_of
from upnp_gw.engine.measurements import BOUNDS_NS, MOST_DEVICES, Histogram, Measurements, Traffic
from upnp_gw.firewall.base import Counters
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.ledger.events import DeviceSeen, FirstMapping
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import Refusal


@pytest.mark.parametrize(
    ("ns", "bucket"), [(0, 0), (10_000, 0), (10_001, 1), (20_000, 1), (5_000_000_000, 17), (5_000_000_001, 18)]
)
def test_a_time_is_in_the_bucket_of_the_next_bound(ns: int, bucket: int) -> None:
    histogram = Histogram()
    histogram.add(ns)
    assert [at for at, count in enumerate(histogram.counts) if count] == [bucket]
    assert (len(histogram.counts), histogram.sum_ns) == (len(BOUNDS_NS) + 1, ns)
    assert list(BOUNDS_NS) == sorted(BOUNDS_NS)


async def test_a_request_counts_by_protocol_and_verdict(tmp_path: Path) -> None:
    policy = policy_of(
        'default = "ask"\n[[forbid]]\nname = "admin"\nint_ports = [22]\n[[grant]]\nname = "all"\nwho = "*"\n'
        'int_ports = ["1024-9000"]\n'
    )
    async with gateway_fixture(tmp_path, policy) as home:
        await home.granted(8080)
        await home.granted(8080)
        await home.refused(8080, PC_IP)
        await home.refused(2022, internal=22)
        await home.refused(9999, via=Via.PCP)
        await home.unmap(8080)
        await home.unmap(8081)
        found = home.measurements
        igd, pcp = found.protocols[Via.IGD1], found.protocols[Via.PCP]
        assert igd.verdicts == {"allow": 3, "busy": 1, "deny": 1, "none": 1}
        assert pcp.verdicts == {"ask": 1}
        assert found.refusals == {
            Refusal.CONFLICT: 1,
            Refusal.NOT_AUTHORIZED: 1,
            Refusal.ASK: 1,
            Refusal.NO_SUCH: 1,
        }
        assert found.questions == 1
        assert (sum(igd.time.counts), sum(pcp.time.counts)) == (6, 1)
        assert sum(found.decision_time.counts) == 7
        assert sum(found.kernel_time.counts) == 3, "two grants and a delete change the kernel"
        assert sum(found.store_time.counts) == 6, "the delete of an unknown mapping writes nothing"
        assert all(time.sum_ns > 0 for time in (found.decision_time, found.kernel_time, found.store_time))


async def test_a_device_is_new_once_and_its_first_mapping_is_told_once(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.refused(22, internal=22)
        assert [event.device for event in home.events if isinstance(event, DeviceSeen)] == [CONSOLE]
        assert not [event for event in home.events if isinstance(event, FirstMapping)]
        for _ in range(2):
            await home.granted(8080)
        await home.handle(asks(8090, via=Via.OPERATOR, target=PC_IP))
        await home.granted(8081, PC_IP)
        assert [event.device for event in home.events if isinstance(event, DeviceSeen)] == [CONSOLE, PC]
        first = [event.mapping for event in home.events if isinstance(event, FirstMapping)]
        assert [(mapping.device, mapping.key.external_port) for mapping in first] == [(CONSOLE, 8080), (PC, 8081)]
        await home.gateway.remember()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.granted(8082)
        assert not [event for event in home.events if isinstance(event, DeviceSeen | FirstMapping)]


async def test_a_request_that_the_kernel_refuses_is_no_first_mapping(tmp_path: Path) -> None:
    firewall = MemoryFirewall()
    async with gateway_fixture(tmp_path, firewall=firewall) as home:
        firewall.fail_next = ["no memory"]
        assert (await home.refused(8080)).refusal is Refusal.BACKEND
        assert not [event for event in home.events if isinstance(event, FirstMapping)]
        assert home.measurements.refusals == {Refusal.BACKEND: 1}
        await home.granted(8080)
        assert [event for event in home.events if isinstance(event, FirstMapping)]


async def test_traffic_of_an_earlier_run_is_not_counted_again(tmp_path: Path) -> None:
    clock = Clock()

    async def count(home: GatewayFixture, connections: int, volume: int) -> Traffic:
        home.firewall.counters[mapping] = Counters(connections, volume, connections)
        clock.pass_s(60)
        await home.usage_reader.count()
        return home.measurements.devices.get(CONSOLE, Traffic())

    async with gateway_fixture(tmp_path, clock=clock) as home:
        mapping = (await home.granted(8080, lifetime=7200)).mapping.id
        assert await count(home, 4, 9000) == Traffic(9000, 4)
    clock.pass_s(600)
    async with gateway_fixture(tmp_path, clock=clock) as again:
        assert await count(again, 4, 9000) == Traffic(0, 0)
        assert await count(again, 6, 9500) == Traffic(500, 2)


def test_traffic_of_a_device_that_is_not_listed_any_more_counts_among_the_others() -> None:
    counted = Measurements()
    for number in range(MOST_DEVICES + 2):
        counted.used(str(number), 10, 1)
        counted.used("busy", 1, 0)
    assert len(counted.devices) == MOST_DEVICES
    assert (counted.other_devices.bytes, counted.other_devices.connections) == (30, 3)
    assert counted.devices["busy"].bytes == MOST_DEVICES + 2
