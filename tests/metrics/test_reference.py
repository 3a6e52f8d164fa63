"""docs/metrics.md, and the examples for Prometheus and Grafana: they name metrics that exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import ROOT
from tests.fixtures.promtool import promtool
from upnp_gw.metrics.catalogue import CATALOGUE
from upnp_gw.metrics.reference import reference

ALERTS = ROOT / "examples" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "examples" / "grafana" / "dashboard.json"
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SERIES = {metric.full + suffix for metric in CATALOGUE for suffix in SUFFIXES[metric.kind]}


def test_the_page_is_made_from_the_program() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert page == reference(), "run: python -m upnp_gw.metrics.reference > docs/metrics.md"


def _expressions(value: object) -> list[str]:
    """Every ``expr`` in a JSON value."""
    if isinstance(value, list):
        return [found for each in value for found in _expressions(each)]
    if not isinstance(value, dict):
        return []
    own = [str(value["expr"])] if "expr" in value else []
    return own + [found for each in value.values() for found in _expressions(each)]


@pytest.mark.parametrize("example", [ALERTS, DASHBOARD], ids=lambda path: str(path.name))
def test_an_example_names_metrics_that_exist(example: Path) -> None:
    text = example.read_text("utf-8")
    expressions = _expressions(yaml.safe_load(text) if example.suffix == ".yml" else json.loads(text))
    named = {name for each in expressions for name in re.findall(r"upnp_gw_\w+", each)}
    assert len(named) > 5
    assert named <= SERIES


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    assert board["title"]
    assert board["uid"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) >= 8
    places: list[set[tuple[int, int]]] = []
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not any(cells & other for other in places), f"{panel['title']} covers another panel"
        places.append(cells)
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"], panel["title"]
    (source,) = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")


@pytest.mark.packages
def test_promtool_takes_the_alert_rules_and_their_tests() -> None:
    tool = promtool()
    for arguments in (
        ["check", "rules", str(ALERTS)],
        ["test", "rules", str(ROOT / "tests/metrics/alerts.test.yml")],
    ):
        ran = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    rules = {
        rule["alert"] for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]
    }
    tests = yaml.safe_load((ROOT / "tests/metrics/alerts.test.yml").read_text("utf-8"))
    firing = {
        case["alertname"] for test in tests["tests"] for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert firing == rules, "every alert fires in a test"


@pytest.mark.packages
def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = _expressions(json.loads(DASHBOARD.read_text("utf-8")))
    rules = [
        {"record": f"panel:{number}", "expr": each.replace("$__rate_interval", "5m")}
        for number, each in enumerate(expressions)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    ran = subprocess.run([promtool(), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
