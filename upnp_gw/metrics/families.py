"""The daemon's measurements as metric families of prometheus-client. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from upnp_gw import api
from upnp_gw.metrics.catalogue import BY_NAME, PREFIX
from upnp_gw.metrics.devices import ShownDevices
from upnp_gw.notify.counts import NotifyCounts

Samples = Mapping[tuple[str, ...], float]
"""Label values -> value."""


def families(measurements: api.Measurements | None, devices: ShownDevices) -> Iterator[Metric]:
    """All families but those of notifications. None: the daemon does not answer."""
    yield single("up", measurements is not None)
    if measurements is None:
        return
    yield simple("build_info", {(measurements.version,): 1})
    yield single("start_time_seconds", measurements.started_at.timestamp())
    yield simple("requests", {(one.via.value, one.verdict): one.count for one in measurements.requests})
    yield simple("refusals", by_word(measurements.refusals))
    yield _histogram("request_duration_seconds", {(via,): one for via, one in measurements.request_time.items()})
    yield _histogram("decision_duration_seconds", {(): measurements.decision_time})
    yield _histogram("kernel_duration_seconds", {(): measurements.kernel_time})
    yield _histogram("store_duration_seconds", {(): measurements.store_time})
    yield simple("mappings", by_word(measurements.mappings))
    yield single("mappings_limit", measurements.mappings_limit)
    yield from _devices(measurements, devices)
    yield single("incidents", measurements.incidents)
    yield single("incidents_open", measurements.incidents_open)
    yield single("questions", measurements.questions)
    yield single("questions_waiting", measurements.questions_waiting)
    yield single("policy_reloads_refused", measurements.policies_refused)
    yield single("table_heals", measurements.healed)
    yield simple("messages", by_word(measurements.servers))
    yield single("wan_up", measurements.wan_up)
    yield single("external_address_public", measurements.address_kind == "public")
    if measurements.above_answers is not None:
        yield single("gateway_above_up", measurements.above_answers)
    yield single("daemon_cpu_seconds", measurements.process.cpu_s)
    yield single("daemon_resident_memory_bytes", measurements.process.resident_bytes)
    yield single("daemon_open_fds", measurements.process.open_files)


def _devices(measurements: api.Measurements, devices: ShownDevices) -> Iterator[Metric]:
    own, others = devices.chosen(measurements)
    rows = [*own, others] if others is not None else own
    yield simple("device_mappings", {(row.device,): row.mappings for row in rows})
    yield simple("device_bytes", {(row.device,): row.bytes for row in rows})
    yield simple("device_connections", {(row.device,): row.connections for row in rows})
    yield simple("device_info", {(row.device, row.device_name): 1 for row in own if row.device_name is not None})


def notify_families(counts: NotifyCounts) -> Iterator[Metric]:
    """The families of ``[[notify]]``; none without a target."""
    if counts.waiting:
        yield simple("notify_messages", dict(counts.samples()))
        yield simple("notify_waiting", {(str(target),): count for target, count in counts.waiting.items()})


def single(name: str, value: float) -> Metric:
    """A family without labels."""
    return simple(name, {(): value})


def by_word(values: Mapping[str, float]) -> Samples:
    return {(word,): value for word, value in values.items()}


def simple(name: str, samples: Samples) -> Metric:
    """A counter or a gauge of the catalogue."""
    metric = BY_NAME[name]
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(PREFIX + name, metric.help, labels=metric.labels)
    for labels, value in samples.items():
        family.add_metric(labels, float(value))
    return family


def _histogram(name: str, samples: Mapping[tuple[str, ...], api.Histogram]) -> Metric:
    metric = BY_NAME[name]
    family = HistogramMetricFamily(PREFIX + name, metric.help, labels=metric.labels)
    for labels, histogram in samples.items():
        bounds: Iterable[str] = (*map(_bound, histogram.bounds_s), "+Inf")
        family.add_metric(
            labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), sum_value=histogram.sum_s
        )
    return family


def _bound(seconds: float) -> str:
    """``0.00002`` and not ``2e-05``: a rule that names a bucket can be read."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") if seconds != int(seconds) else f"{seconds:.1f}"
