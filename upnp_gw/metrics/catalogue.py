"""Every metric of our own, by Prometheus' conventions: base units, ``_total`` for counters, a help text each."""

from dataclasses import dataclass
from typing import Literal

PREFIX = "upnp_gw_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family. ``name``: without prefix, and without ``_total`` of a counter."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full(self) -> str:
        """Its name in queries; a histogram has ``_bucket``, ``_sum`` and ``_count`` behind it."""
        return PREFIX + self.name + ("_total" if self.kind == "counter" else "")


CATALOGUE = (
    Metric("up", "gauge", "1: the gateway answers; 0: it does not, and its metrics are missing."),
    Metric("build_info", "gauge", "The version of the gateway; always 1.", ("version",)),
    Metric("start_time_seconds", "gauge", "Unix time of the gateway's start."),
    Metric(
        "requests",
        "counter",
        "Requests for a change by protocol (igd1, igd2, natpmp, pcp, operator) and verdict (allow, deny, ask, busy,"
        " none).",
        ("protocol", "verdict"),
    ),
    Metric("refusals", "counter", "Refused requests by reason, such as not-authorized or conflict.", ("reason",)),
    Metric(
        "request_duration_seconds",
        "histogram",
        "From a request's arrival in the gateway to its reply, with the kernel and the store.",
        ("protocol",),
    ),
    Metric(
        "decision_duration_seconds", "histogram", "Facts, verdict and plan of one request, without any waiting."
    ),
    Metric("kernel_duration_seconds", "histogram", "Changes of the kernel's table, each for a batch of requests."),
    Metric("store_duration_seconds", "histogram", "Commits of the store, each for a batch of requests."),
    Metric("mappings", "gauge", "Port mappings and pinholes by state (active, parked, disabled).", ("state",)),
    Metric("mappings_limit", "gauge", "The limit of mappings by the policy."),
    Metric(
        "device_mappings", "gauge", "Mappings of one device. The others together are device other.", ("device",)
    ),
    Metric(
        "device_bytes", "counter", "Bytes through mappings of one device, also through ended ones.", ("device",)
    ),
    Metric("device_connections", "counter", "Connections through mappings of one device.", ("device",)),
    Metric("device_info", "gauge", "The name of a device with metrics of its own; always 1.", ("device", "name")),
    Metric("incidents", "counter", "Devices that were refused many distinct ports."),
    Metric("incidents_open", "gauge", "Incidents that are open now."),
    Metric("questions", "counter", "Questions to the operator."),
    Metric("questions_waiting", "gauge", "Questions that wait for an answer now."),
    Metric("policy_reloads_refused", "counter", "Reloads of policy files with a mistake."),
    Metric("table_heals", "counter", "Another program removed our table, and it was installed again."),
    Metric("messages", "counter", "Messages of clients by kind, such as ssdp.search, and dropped ones.", ("kind",)),
    Metric("wan_up", "gauge", "1: the WAN link is up."),
    Metric(
        "external_address_public",
        "gauge",
        "1: the internet reaches the external IPv4 address; 0: double NAT, or there is none.",
    ),
    Metric("gateway_above_up", "gauge", "1: the gateway above answers. Only where one is asked ([upstream])."),
    Metric("daemon_cpu_seconds", "counter", "Processor time of the gateway."),
    Metric("daemon_resident_memory_bytes", "gauge", "Memory of the gateway."),
    Metric("daemon_open_fds", "gauge", "Open file descriptors of the gateway."),
    Metric(
        "notify_messages",
        "counter",
        "Messages of [[notify]] by target (its number in the file, from 0) and outcome (sent, failed, left-out).",
        ("target", "outcome"),
    ),
    Metric("notify_waiting", "gauge", "Messages of [[notify]] that wait to be sent.", ("target",)),
)
BY_NAME = {metric.name: metric for metric in CATALOGUE}
