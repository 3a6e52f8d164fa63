"""Each seeded fault of a real kernel is found, and a packet from outside shows that it is one."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.firewall.openings.scene import Scene, listening
from tests.firewall.openings.seeded import ALONGSIDE_FAULTS, ROUTER_FAULTS, Seeded, restore
from tests.fixtures.lab_firewall import gateway_of
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.openings.findings import Verdict
from upnp_gw.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def router_scene(lab: Lab) -> Iterator[Scene]:
    with gateway_of(lab, FirewallMode.ROUTER) as gateway, listening(lab):
        scene = Scene(lab, gateway)
        scene.fill()
        yield scene


@pytest.fixture(scope="module")
def alongside_scene(namespaces: None) -> Iterator[Scene]:
    with Lab() as lab, gateway_of(lab, FirewallMode.ALONGSIDE) as gateway, listening(lab):
        scene = Scene(lab, gateway, FirewallMode.ALONGSIDE)
        restore(scene)
        yield scene


@pytest.fixture
def beside(alongside_scene: Scene) -> Iterator[Scene]:
    yield alongside_scene
    restore(alongside_scene)


@pytest.fixture
def scene(router_scene: Scene) -> Iterator[Scene]:
    yield router_scene
    restore(router_scene)


def test_nothing_but_mappings_gets_in(scene: Scene) -> None:
    proof = scene.prove()
    assert proof.verdict is Verdict.PROVED, proof.findings
    assert proof.open_mappings == {"m1", "m2", "m3", "m4", "m5"}
    assert scene.shut(22)
    assert scene.at_gateway(8080) == "console"


def test_nothing_but_mappings_gets_in_beside_another_firewall(beside: Scene) -> None:
    proof = beside.prove()
    assert proof.verdict is Verdict.PROVED, proof.findings
    assert proof.open_mappings == {"m1", "m2", "m3", "m4", "m5"}
    assert beside.shut(22)
    assert beside.at_gateway(8080) == "console"
    assert beside.at_host(8443)


@pytest.mark.parametrize("seeded", ROUTER_FAULTS, ids=lambda seeded: seeded.name)
def test_a_fault_of_the_router_is_found(scene: Scene, seeded: Seeded) -> None:
    found(scene, seeded)


@pytest.mark.parametrize("seeded", ALONGSIDE_FAULTS, ids=lambda seeded: seeded.name)
def test_a_fault_beside_another_firewall_is_found(beside: Scene, seeded: Seeded) -> None:
    found(beside, seeded)


def found(scene: Scene, seeded: Seeded) -> None:
    assert scene.prove().verdict is Verdict.PROVED, "before the fault"
    with ExitStack() as stack:
        arrives = seeded.make(scene, stack)
        proof = scene.prove()
        assert proof.verdict is Verdict.OPEN, proof
        assert seeded.fault in {finding.fault for finding in proof.findings}, proof.findings
        if arrives is not None:
            assert arrives(), "the fault opens nothing"
