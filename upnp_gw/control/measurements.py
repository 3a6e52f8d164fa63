"""The operation ``measurements``: what the engine counted since the start, and the state of the moment."""

import os
from collections.abc import Iterator
from pathlib import Path

from upnp_gw import __version__, api
from upnp_gw.control.above import gateway_above
from upnp_gw.control.address_kind import address_kind
from upnp_gw.control.on_demand import DaemonParts
from upnp_gw.control.serialize import Serializer
from upnp_gw.engine.measurements import BOUNDS_NS, Histogram
from upnp_gw.engine.operator_question import questions_waiting
from upnp_gw.model.device import OPERATOR

BOUNDS_S = [bound / 1e9 for bound in BOUNDS_NS]


class MeasurementCommands:
    """Reads; changes nothing."""

    def __init__(self, daemon: DaemonParts, serializer: Serializer) -> None:
        self._daemon = daemon
        self._serializer = serializer

    async def measurements(self) -> api.Measurements:
        """Bytes and connections are those of the last reading of the kernel's counters."""
        daemon, counted = self._daemon, self._daemon.measurements
        environment, ledger = daemon.decider.environment, daemon.decider.ledger
        now, network = environment.clock(), environment.network
        active, parked, disabled = ledger.table.states()
        return api.Measurements(
            version=__version__,
            started_at=api.moment(daemon.started.wall),
            process=_process(),
            requests=[
                api.RequestCount(via=via, verdict=verdict, count=count)  # type: ignore[arg-type]
                for via, counts in counted.protocols.items()
                for verdict, count in sorted(counts.verdicts.items())
            ],
            request_time={via.value: _histogram(counts.time) for via, counts in counted.protocols.items()},
            decision_time=_histogram(counted.decision_time),
            kernel_time=_histogram(counted.kernel_time),
            store_time=_histogram(counted.store_time),
            refusals={refusal.value: count for refusal, count in sorted(counted.refusals.items())},
            healed=daemon.gateway.healed,
            incidents=counted.incidents,
            incidents_open=len(daemon.decider.history.incidents(now)),
            questions=counted.questions,
            questions_waiting=len(questions_waiting(daemon.decider, now.wall)),
            policies_refused=counted.policies_refused,
            mappings={"active": active, "parked": parked, "disabled": disabled},
            mappings_limit=daemon.decider.in_force.policy.limits.total_mappings,
            devices=list(self._devices()),
            other_devices_bytes=counted.other_devices.bytes,
            other_devices_connections=counted.other_devices.connections,
            servers=daemon.counters(),
            wan_up=network.wan.up,
            address_kind=address_kind(network.advertised),
            above_answers=gateway_above(state, network, now).answers if (state := daemon.above()) else None,
        )

    def _devices(self) -> Iterator[api.DeviceTraffic]:
        table, traffic = self._daemon.decider.ledger.table, self._daemon.measurements.devices
        for device in sorted({*table.devices(), *traffic}):
            used = traffic.get(device)
            yield api.DeviceTraffic(
                device=device,
                device_name=self._serializer.name(device) if device != OPERATOR else None,
                mappings=table.held_by(device),
                bytes=used.bytes if used else 0,
                connections=used.connections if used else 0,
            )


def _process() -> api.Process:
    times = os.times()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return api.Process(
        cpu_s=times.user + times.system,
        resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        open_files=len(os.listdir("/proc/self/fd")),
    )


def _histogram(histogram: Histogram) -> api.Histogram:
    return api.Histogram(bounds_s=BOUNDS_S, counts=list(histogram.counts), sum_s=histogram.sum_ns / 1e9)
