"""``GET /v1/measurements``."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.fixtures.gateway import CONSOLE, PC_IP, gateway_fixture
from tests.fixtures.policies import policy_of
from upnp_gw.control.measurements import MeasurementCommands
from upnp_gw.control.serialize import Serializer
from upnp_gw.firewall.base import Counters
from upnp_gw.ledger.forwards import forwards_of

POLICY = (
    'default = "ask"\n[device.console]\nmac = ["ac:89:95:00:00:01"]\n[limits]\ntotal_mappings = 100\n'
    '[[grant]]\nname = "all"\nwho = "console"\n'
)


async def test_counts_times_and_the_state_of_the_moment(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy_of(POLICY)) as home:
        parts: Any = SimpleNamespace(
            above=lambda: None,
            decider=home.decider,
            gateway=home.gateway,
            measurements=home.measurements,
            started=home.clock.now,
            counters=lambda: {"ssdp.search": 3},
        )
        mapping = (await home.granted(8080)).mapping
        await home.refused(9000, PC_IP)
        home.usage_reader._add(
            forwards_of(mapping, home.decider.ledger.table, home.clock.now)[0].id,
            Counters(2, 1000, 10),
            home.clock.now,
        )
        found = await MeasurementCommands(parts, Serializer(home.decider)).measurements()
        assert {(one.via, one.verdict): one.count for one in found.requests} == {
            ("igd1", "allow"): 1,
            ("igd1", "ask"): 1,
        }
        assert (found.questions, found.questions_waiting) == (1, 1)
        assert found.mappings == {"active": 1, "parked": 0, "disabled": 0}
        assert found.mappings_limit == 100
        device = found.devices[0]
        assert (device.device, device.device_name, device.mappings) == (CONSOLE, "console", 1)
        assert (device.bytes, device.connections) == (1000, 2)
        assert 10_000_000 < found.process.resident_bytes < 2_000_000_000
        assert (found.process.cpu_s > 0, found.process.open_files > 3) == (True, True)
        assert found.servers == {"ssdp.search": 3}
        time = found.request_time["igd1"]
        assert (sum(time.counts), len(time.counts), time.bounds_s[0]) == (2, len(time.bounds_s) + 1, 0.00001)
        assert 0 < time.sum_s < 10
        await home.unmap(8080)
        again = await MeasurementCommands(parts, Serializer(home.decider)).measurements()
        assert [(one.mappings, one.bytes) for one in again.devices] == [(0, 1000)], "the traffic stays"
