"""The text of ``/metrics``, as prometheus-client parses it and as ``promtool`` judges it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.fake_operator import FakeOperator
from tests.fixtures.promtool import promtool
from upnp_gw.control.server import ControlServer
from upnp_gw.control_client import ControlClient
from upnp_gw.metrics.catalogue import CATALOGUE
from upnp_gw.metrics.exposition import Exposition
from upnp_gw.notify.counts import NotifyCounts


@pytest.fixture
async def exposition(tmp_path: Path) -> AsyncIterator[Exposition]:
    server, client = ControlServer(FakeOperator(), tmp_path), ControlClient(tmp_path)
    await server.start()
    counts = NotifyCounts(waiting={0: 3})
    counts.messages[0, "sent"] = 8
    yield Exposition(client, 2, counts)
    await client.close()
    await server.close()


async def parsed(exposition: Exposition) -> dict[str, Metric]:
    text = (await exposition.text()).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    (found,) = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels == sample.labels
    ]
    return found


async def test_every_metric_of_the_catalogue_is_there_with_its_labels(exposition: Exposition) -> None:
    families = await parsed(exposition)
    for metric in CATALOGUE:
        family = families["upnp_gw_" + metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples, metric.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), sample
    others = {name for name in families if not name.startswith("upnp_gw_")}
    assert others >= {"process_cpu_seconds", "process_resident_memory_bytes"}
    assert len(families) - len(others) == len(CATALOGUE)


async def test_values_and_histograms(exposition: Exposition) -> None:
    families = await parsed(exposition)
    assert value(families, "upnp_gw_up") == 1
    assert value(families, "upnp_gw_requests_total", protocol="pcp", verdict="deny") == 2
    assert value(families, "upnp_gw_refusals_total", reason="not-authorized") == 2
    assert value(families, "upnp_gw_device_bytes_total", device="other") == 1000 + 2000 + 7
    assert value(families, "upnp_gw_device_mappings", device="02:00:00:00:00:04") == 4
    assert value(families, "upnp_gw_notify_messages_total", target="0", outcome="sent") == 8
    assert value(families, "upnp_gw_notify_messages_total", target="0", outcome="failed") == 0
    assert value(families, "upnp_gw_external_address_public") == 0
    buckets = [
        value(families, "upnp_gw_decision_duration_seconds_bucket", le=le) for le in ("0.001", "0.01", "1.0")
    ]
    assert buckets == [2, 3, 3]
    assert value(families, "upnp_gw_decision_duration_seconds_count") == 4
    assert value(families, "upnp_gw_decision_duration_seconds_sum") == 5.5
    assert value(families, "upnp_gw_request_duration_seconds_bucket", protocol="pcp", le="+Inf") == 4


async def test_without_the_daemon_it_says_that_it_is_down(tmp_path: Path) -> None:
    client = ControlClient(tmp_path)
    families = await parsed(Exposition(client, 2, NotifyCounts()))
    assert value(families, "upnp_gw_up") == 0
    assert {name for name in families if name.startswith("upnp_gw")} == {"upnp_gw_up"}
    assert "process_cpu_seconds" in families
    await client.close()


@pytest.mark.packages
async def test_promtool_finds_nothing_to_complain_about(exposition: Exposition) -> None:
    text = await exposition.text()
    ran = await asyncio.to_thread(
        subprocess.run, [promtool(), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
