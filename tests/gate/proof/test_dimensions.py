"""Every field that ``decide`` reads is a dimension of the algebra, or has the reason why it is none."""

import ast
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

import upnp_gw.gate
import upnp_gw.gate.proof
from tests.gate.proof.small_policies import built, policy_tables, universe
from upnp_gw.gate import decide as decide_module
from upnp_gw.gate import facts as facts_module
from upnp_gw.gate import floor, match, remote_match
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import FAULT, Facts
from upnp_gw.gate.hours import Calendar, Hours, Window
from upnp_gw.gate.proof.dimensions import FACTS, REQUEST
from upnp_gw.gate.remote import AddressSet, RemoteHosts
from upnp_gw.gate.schema import Device, Forbid, Grant, Policy, Zone
from upnp_gw.model.request import MapRequest

MODULES = (decide_module, match, remote_match, floor, facts_module)
NO_DECISION = {"gather", "hosts_of", "on_other_lans", "may_be_moved", "name_of", "ids_of", "device_of"}
"""Functions of ``gate.facts`` that make the facts, or have another use."""
PROPERTIES = {name for name, value in vars(MapRequest).items() if isinstance(value, property)}
KNOWN = {
    "facts": {field.name for field in fields(Facts)},
    "request": {field.name for field in fields(MapRequest)} | PROPERTIES,
}
TABLES = {"facts": FACTS, "request": REQUEST}


def read_in_source(what: str) -> Iterator[str]:
    """The fields that the modules of the decision name."""
    for module in MODULES:
        assert module.__file__ is not None
        for node in ast.parse(Path(module.__file__).read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name in NO_DECISION:
                continue
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and inner.attr in KNOWN[what]:
                    owner = inner.value
                    name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
                    if name == what:
                        yield inner.attr


RECORDING = {"device_history.py"}
"""It counts requests after a decision."""


def modules_of_the_decision() -> Iterator[Path]:
    """The modules of the gate that ``decide`` reaches by imports, itself included."""
    directory = Path(upnp_gw.gate.__path__[0])
    found, waiting = set[Path](), [directory / "decide.py"]
    while waiting:
        path = waiting.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        yield path
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "upnp_gw.gate":
                waiting += [directory / f"{name.name}.py" for name in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("upnp_gw.gate."):
                waiting.append(directory / f"{(node.module or '').rpartition('.')[2]}.py")


def test_every_module_that_can_read_a_request_is_looked_at() -> None:
    """Another module that gets ``Facts`` or a ``MapRequest`` could read a field unseen."""
    reading = {
        path.name
        for path in modules_of_the_decision()
        if {"Facts", "MapRequest"}
        & {node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)}
    }
    assert reading - RECORDING == {Path(str(module.__file__)).name for module in MODULES}


@pytest.mark.parametrize("what", ["facts", "request"])
def test_no_other_field_is_read_under_any_name(what: str) -> None:
    """Of the request above all, whatever the variable is called, also in a branch that no test takes."""
    others = KNOWN[what] - TABLES[what].keys()
    read = {
        f"{Path(str(module.__file__)).name}: {ast.unparse(inner)}"
        for module in MODULES
        for node in ast.parse(Path(str(module.__file__)).read_text("utf-8")).body
        if not (isinstance(node, ast.FunctionDef) and node.name in NO_DECISION)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and inner.attr in others
    }
    assert read == set()


INSIDE = {
    "network": {"extent_of", "emulated", "lans", "translates", "own", "lan_spans"},
    "held": {"by_device", "on_port", "elements", "total", "by_grant"},
    "gateway_ports": {"holds"},
}
"""Field of ``Facts`` -> its own fields and methods that ``decide`` reads: zones by ``extent_of``, the floor by the
others; room; the ports of the gateway."""


def test_decide_reads_nothing_else_inside_a_fact() -> None:
    """A field of the network that decides would need a dimension as well."""
    seen: dict[str, set[str]] = {name: set() for name in INSIDE}
    for facts, request, policy in decisions():
        inner = {name: Noted(getattr(facts, name), names) for name, names in seen.items()}
        verdict = decide(policy, replace(facts, **inner), request)  # type: ignore[arg-type]
        assert verdict.reasons[-1] != FAULT, verdict.reasons
    assert {name: names - INSIDE[name] for name, names in seen.items() if names - INSIDE[name]} == {}
    for name, names in seen.items():
        assert names, name


def decisions() -> Iterator[tuple[Facts, MapRequest, Policy]]:
    """Requests of many kinds, so that ``decide`` takes all its ways."""
    for seed in range(150):
        random = Random(seed)
        tables = policy_tables(random)
        policy = built(tables)
        for facts, request in universe(random, tables["device"], most=40):
            yield facts, request, policy


class Noted:
    """A value whose fields are noted when they are read."""

    def __init__(self, inner: Any, seen: set[str]) -> None:
        self._inner, self._seen = inner, seen

    def __getattr__(self, name: str) -> Any:
        self._seen.add(name)
        return getattr(self._inner, name)


@pytest.mark.parametrize("what", ["facts", "request"])
def test_the_source_of_decide_reads_no_other_field(what: str) -> None:
    read = set(read_in_source(what))
    assert read - TABLES[what].keys() == set(), "add a dimension to gate.proof, or the reason why it needs none"
    assert TABLES[what].keys() - read - {"pinhole", "external_address"} == set(), "it is read no more"


def test_decide_reads_no_other_field() -> None:
    """Also through another name than ``facts`` and ``request``."""
    seen: dict[str, set[str]] = {"facts": set(), "request": set()}
    for facts, request, policy in decisions():
        noted: Any = Noted(facts, seen["facts"])
        verdict = decide(policy, noted, Noted(request, seen["request"]))  # type: ignore[arg-type]
        assert verdict.reasons[-1] != FAULT, verdict.reasons
    for what, read in seen.items():
        assert read & KNOWN[what] - TABLES[what].keys() == set()
        assert len(read) > 8


NOT_IN_THE_ALGEBRA = {
    "Grant": {"owner", "reason", "review_by"},
    "Forbid": {"name"},
    "Policy": {
        "groups",
        "cases",
        "digest",
        "by_address",
        "screened",
        "grants_of",
        "grants_of_anyone",
        "forbids_of",
        "forbids_of_anyone",
    },
    "AddressSet": {"name", "named", "file", "ranges", "entries", "as_of"},
    "Hours": {"windows"},
    "Window": {"days", "start", "end"},
    "RemoteHosts": {"only", "never"},
    "Zone": {"spans"},
}
"""They decide nothing, or the algebra reads them in another form: groups are resolved, ranges are flat, hours tell
their minutes."""


@pytest.mark.parametrize(
    "kind", [Grant, Forbid, Device, Zone, Policy, AddressSet, Hours, Window, RemoteHosts, Calendar]
)
def test_the_algebra_reads_every_field_of_a_rule(kind: type) -> None:
    """A new key of the language fails here until the algebra knows it."""
    directory = Path(upnp_gw.gate.proof.__path__[0])
    nodes = [node for path in directory.glob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names = {field.name for field in fields(kind)}
    assert names - read - NOT_IN_THE_ALGEBRA.get(kind.__name__, set()) == set()
