"""Rules of other firewalls: what the proof says about a packet is what becomes of it in the kernel."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.firewall.openings.scene import TCP, Scene, listening
from tests.firewall.openings.seeded import restore
from tests.firewall.openings.test_walk import PLACE, match
from tests.firewall.other_tables.test_drops import recorded
from tests.fixtures.lab_firewall import gateway_of
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.openings.findings import Fault, Verdict
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.proof import prove
from upnp_gw.firewall.openings.sentences import sentence
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import REFUSED_S, reach

pytestmark = pytest.mark.lab
RULES = Path(__file__).parents[2] / "lab" / "guides" / "recorded"


class Beside(NamedTuple):
    """A firewall beside ours. ``v4``, ``v6``: it lets any packet to a host of the LAN pass."""

    file: str
    v4: bool
    v6: bool
    mapping: bool
    """A port mapping is open beside it."""
    pinhole: bool


FIREWALLS = (
    Beside("docker-20.10.24.rules", v4=False, v6=True, mapping=False, pinhole=True),
    Beside("libvirt-9.0.0.rules", v4=True, v6=True, mapping=True, pinhole=True),
    Beside("fw4.nft", v4=False, v6=False, mapping=False, pinhole=False),
    Beside("proxmox.rules", v4=True, v6=True, mapping=True, pinhole=True),
)


MINIUPNPD = """
table inet filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iif "lan0" accept
    jump miniupnpd
  }
  chain miniupnpd { iif "wan0" @nh,72,8 6 @nh,128,32 0xc0a84d0a @th,16,16 22 accept; }
  chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
  chain prerouting_miniupnpd { iif "wan0" @nh,72,8 6 tcp dport 2222 dnat ip to 192.168.77.10:22; }
}
"""
"""A mapping of miniupnpd, as nft lists it."""


@pytest.fixture(scope="module")
def module_scene(namespaces: None) -> Iterator[Scene]:
    with Lab() as lab, gateway_of(lab, FirewallMode.ALONGSIDE) as gateway, listening(lab):
        yield Scene(lab, gateway, FirewallMode.ALONGSIDE)


@pytest.fixture
def scene(module_scene: Scene) -> Iterator[Scene]:
    restore(module_scene)
    module_scene.nft("delete table inet home")
    yield module_scene
    module_scene.nft("flush ruleset")


@pytest.mark.parametrize("beside", FIREWALLS, ids=lambda beside: beside.file)
def test_the_proof_says_what_the_kernel_does(scene: Scene, beside: Beside) -> None:
    rules = (RULES / beside.file).read_text("utf-8").replace("eth0", "wan0").replace("br-lan", "lan0")
    program = ["nft", "-f", "-"] if beside.file.endswith(".nft") else ["iptables-restore", "--noflush"]
    scene.lab.gateway.run(program, text=rules)
    proof = scene.prove()
    assert proof.verdict is (Verdict.OPEN if beside.v4 or beside.v6 else Verdict.PROVED), proof.findings
    assert {finding.packet.version for finding in proof.findings if finding.packet is not None} == {
        version for version, is_open in ((4, beside.v4), (6, beside.v6)) if is_open
    }
    assert ("m1" in proof.open_mappings, "m4" in proof.open_mappings) == (beside.mapping, beside.pinhole)
    assert scene.shut(22) is not beside.v6
    assert bool(reach(scene.peer, TCP, scene.lab.external[0], 8080, timeout=REFUSED_S)) is beside.mapping
    assert scene.shut(8443) is not beside.pinhole


def test_a_dnat_of_iptables_to_a_lan_host_is_found(scene: Scene) -> None:
    command = "iptables -t nat -A PREROUTING -i wan0 -p tcp --dport 2222 -j DNAT --to-destination"
    scene.lab.gateway.run([*command.split(), f"{scene.console.address}:22"])
    for program in ("iptables", "ip6tables"):
        scene.lab.gateway.run([program, "-P", "FORWARD", "DROP"])
    scene.lab.gateway.run(
        ["iptables", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "DNAT,ESTABLISHED", "-j", "ACCEPT"]
    )
    (finding,) = scene.prove().findings
    assert "dnat to 192.168.77.10:22; " in sentence(finding)
    assert scene.at_gateway(2222) == "console"


def test_a_mapping_that_miniupnpd_left_is_found(scene: Scene) -> None:
    """Its rules look at places in headers. In a table of both families they let IPv6 packets in, too, that have the
    same bytes in their source address."""
    scene.nft(MINIUPNPD)
    found = [one for one in scene.prove().findings if one.packet is not None]
    assert {(one.packet.version, one.packet.host_port) for one in found if one.packet} == {(4, 22), (6, 22)}
    texts = [sentence(one) for one in found]
    assert all("inet filter miniupnpd, handle " in text and "@nh,72,8 6 @nh,128,32 " in text for text in texts)
    assert scene.at_gateway(2222) == "console"
    scene.nft("flush chain inet filter prerouting_miniupnpd; flush chain inet filter miniupnpd")
    left = {one.fault for one in scene.prove().findings}
    assert left == {Fault.FLOW}, "the connection goes on"


def test_beside_firewalld_only_mappings_get_in(scene: Scene) -> None:
    """Its rules as they were recorded, beside the kernel's."""
    scene.nft("delete table ip foreign")
    kernel = scene.read()
    both = {"nftables": [*kernel.ruleset["nftables"], *recorded("firewalld")["nftables"]]}
    proof = prove(KernelState(both), scene.permits(), scene.place)
    assert proof.verdict is Verdict.PROVED, proof.findings
    assert proof.open_mappings == {"m1", "m2", "m3", "m5"}, "it drops traffic to pinholes"


def test_a_rule_that_matters_to_nobody_is_no_doubt() -> None:
    """A match of iptables that is not known leads to a chain that gives the packets back."""
    own = {"family": "ip", "table": "filter"}
    unknown = [{"xt": {"type": "match", "name": "physdev"}}, {"jump": {"target": "bridged"}}]
    port = match("==", {"payload": {"protocol": "tcp", "field": "dport"}}, 22)

    def listed(*first: object) -> dict[str, object]:
        hook = {"type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}
        chains = [{**own, "name": "FORWARD", **hook}, {**own, "name": "bridged"}]
        rules = [("bridged", [port, {"return": None}]), ("FORWARD", unknown), ("FORWARD", [port, {"accept": None}])]
        objects = [{"chain": chain} for chain in chains]
        objects += [{"rule": {**own, "chain": name, "expr": expr}} for name, expr in rules]
        return {"nftables": [*objects[:2], *first, *objects[2:]]}

    only4 = frozenset({4})
    assert prove(KernelState(listed(), forwarded=only4), [], PLACE).verdict is Verdict.OPEN
    drop = {"rule": {**own, "chain": "bridged", "expr": [port, {"drop": None}]}}
    found = prove(KernelState(listed(drop), forwarded=only4), [], PLACE)
    assert found.verdict is Verdict.UNKNOWN, found
    assert "xt match physdev jump bridged" in sentence(found.findings[0])


def test_rules_of_legacy_iptables_are_unknown(fresh_lab: Lab) -> None:
    """They are not in the listing, and a packet comes in by them."""
    with gateway_of(fresh_lab, FirewallMode.ROUTER) as gateway, listening(fresh_lab):
        scene = Scene(fresh_lab, gateway)
        scene.fill()
        assert scene.prove().verdict is Verdict.PROVED
        command = "iptables-legacy -t nat -A PREROUTING -i wan0 -p tcp --dport 2222 -j DNAT --to-destination"
        fresh_lab.gateway.run([*command.split(), f"{scene.console.address}:22"])
        proof = scene.prove()
        assert proof.verdict is Verdict.UNKNOWN
        assert "legacy iptables has the tables nat" in sentence(proof.findings[0])
        assert scene.at_gateway(2222) == "console"


def test_a_rule_at_ingress_that_sends_packets_on_is_unknown(fresh_lab: Lab) -> None:
    with gateway_of(fresh_lab, FirewallMode.ROUTER) as gateway:
        scene = Scene(fresh_lab, gateway)
        scene.fill()
        scene.nft(
            'table netdev early { chain in { type filter hook ingress device "wan0" priority 0; policy accept;',
            'udp dport 9 fwd to "lan0"; }; }',
        )
        (finding,) = scene.prove().findings
        assert sentence(finding) == ("nothing is proved: chain netdev early in sends packets on at ingress (fwd)")
