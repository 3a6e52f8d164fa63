"""The findings of the doctor for a machine."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_interface

import pytest

from tests import ROOT
from upnp_gw.config.settings import Config
from upnp_gw.doctor import guides
from upnp_gw.doctor.checks import CHECKS, judge
from upnp_gw.doctor.machine_state import MachineState, OtherGateway, PortHolder
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.openings.findings import Fault, Finding, Packet, Proof
from upnp_gw.firewall.other_tables.drops import Drop
from upnp_gw.firewall.other_tables.leftovers import Leftover
from upnp_gw.firewall.other_tables.offload import FlowOffload
from upnp_gw.firewall.other_tables.remedies import MARKS
from upnp_gw.firewall.other_tables.without_nat import Missing
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Link

HOME = Config(wan="eth0", lan=("br-lan",))


def link(name: str, *addresses: str, up: bool = True, index: int = 3) -> Link:
    return Link(name, index, up, tuple(ip_interface(address) for address in addresses))


WAN, LAN = link("eth0", "9.9.9.7/24"), link("br-lan", "192.168.1.1/24", "fe80::1/64")
UDP, TCP = Transport.UDP, Transport.TCP
LEFTOVER = Leftover("ip nat MINIUPNPD", 3)
VALID = MachineState(
    config=HOME,
    served=((UDP, 1900), (UDP, 5351), (TCP, 5000)),
    links=(WAN, LAN),
    forwarding4=True,
    forwarding6=True,
    multicast={"br-lan": True},
    proof=Proof((), 0, frozenset()),
)
LINE = "nft insert rule inet filter forward ct status dnat accept"
DROP = Drop("inet filter forward", "policy drop", "mapped traffic", (LINE,))
FIREWALLD = Drop(
    "inet firewalld filter_INPUT", "a rule: reject", "searches", ("firewall-cmd --a", "firewall-cmd --b")
)
MISSING = Missing("nobody filters: all their ports are open", ("nft one", "nft two"))
OFFLOAD = FlowOffload(
    "inet fw4 forward", "ft", ("eth0", "br-lan"), "nft insert rule inet fw4 forward ct label 127 accept"
)

PACKET = Packet(4, 6, 3325256711, 40000, 151587079, 2222, 3232235786, 22, "br-lan", "new")
OPEN = Finding(Fault.NO_MAPPING, PACKET, ("inet upnp_gw forward, handle 7: accept",))
FOREIGN = replace(OPEN, rules=("ip nat PREROUTING, handle 3: dnat",), others=True)
UNDECIDED = replace(OPEN, fault=Fault.UNKNOWN, rules=("inet fw forward, handle 2: queue",))


def compared(*findings: Finding) -> MachineState:
    return replace(VALID, proof=Proof(findings, 0, frozenset()))


CASES = [
    (compared(OPEN), "kernel", "fail", "reaches 192.168.1.10:22 on br-lan, and no mapping opens it"),
    (compared(FOREIGN), "kernel", "warn", "let through by: ip nat PREROUTING, handle 3: dnat"),
    (compared(UNDECIDED), "kernel", "warn", "it cannot be told whether tcp from 198.51.100.7:40000"),
    (replace(VALID, proof_problem="no kernel"), "kernel", "warn", "cannot be compared with the ledger: no kernel"),
    (replace(VALID, links=(WAN,)), "interface", "fail", "LAN br-lan does not exist"),
    (replace(VALID, links=(LAN,)), "interface", "fail", "WAN eth0 does not exist"),
    (replace(VALID, links=(LAN, link("eth0", index=0))), "interface", "fail", "WAN eth0 does not exist"),
    (replace(VALID, links=(WAN, link("br-lan", up=False))), "interface", "warn", "LAN br-lan is down"),
    (replace(VALID, links=(WAN, link("br-lan", "fe80::1/64"))), "interface", "fail", "no IPv4 address"),
    (replace(VALID, overlap="br-lan has 9.9.9.1/24"), "lan and wan", "fail", "br-lan has 9.9.9.1/24"),
    (replace(VALID, links=(link("eth0"), LAN)), "external address", "fail", "has no IPv4 address"),
    (replace(VALID, links=(link("eth0", "192.168.0.2/24"), LAN)), "external address", "warn", "private (RFC 1918)"),
    (replace(VALID, links=(link("eth0", "100.64.9.1/10"), LAN)), "external address", "warn", "RFC 6598"),
    (
        replace(
            VALID,
            config=replace(HOME, external_addresses=(IPv4Address("10.0.0.9"),)),
            links=(link("eth0", "10.0.0.9/24"), LAN),
        ),
        "external address",
        "warn",
        "10.0.0.9 is private",
    ),
    (
        replace(VALID, config=replace(HOME, external_addresses=(IPv4Address("9.9.9.9"),))),
        "external address",
        "warn",
        "9.9.9.9 of [wan] addresses is not on eth0",
    ),
    (
        replace(VALID, config=replace(HOME, advertise=IPv4Address("10.0.0.9"))),
        "external address",
        "warn",
        "10.0.0.9 is private",
    ),
    (replace(VALID, forwarding4=False), "forwarding", "fail", "no mapping can work"),
    (replace(VALID, forwarding6=False), "forwarding", "warn", "no pinhole can work"),
    (replace(VALID, forwarding4=None), "forwarding", "warn", "cannot read"),
    (replace(VALID, forwarding6=False, filters_ipv6=False), "forwarding", "warn", "no pinhole can work"),
    (replace(VALID, library_problem="libnftables.so.1 is missing"), "nftables", "fail", "is missing"),
    (replace(VALID, config=replace(HOME, backend="memory")), "nftables", "warn", "opens nothing"),
    (replace(VALID, drops=(DROP,)), "other tables", "fail", "chain inet filter forward (policy drop)"),
    (replace(VALID, drops=(replace(DROP, certain=False),)), "other tables", "warn", "unless an iptables rule"),
    (replace(VALID, missing=(MISSING,)), "hosts without NAT", "warn", "all their ports are open"),
    (replace(VALID, offloads=(OFFLOAD,)), "flow offload", "warn", "flowtable ft, devices eth0, br-lan"),
    (replace(VALID, leftovers=(LEFTOVER,)), "miniupnpd", "warn", "chain ip nat MINIUPNPD has 3 rules of miniupnpd"),
    (replace(VALID, drops_problem="Operation not permitted"), "other tables", "warn", "not permitted"),
    (replace(VALID, multicast={"br-lan": False}), "multicast", "fail", "receives no multicast"),
    (replace(VALID, ways_out={"br-lan": "wg0"}), "answers", "warn", "by wg0, not by the WAN eth0"),
    (
        replace(VALID, bridge_filters={"br-lan": "sysctl -w x=0"}),
        "bridge",
        "warn",
        "bridge br-lan pass the IP fire",
    ),
    (
        replace(VALID, gateways=(OtherGateway("br-lan", ip_address("192.168.1.254"), "http://x/", "FRITZ!Box"),)),
        "other gateways",
        "warn",
        "192.168.1.254 on br-lan is another UPnP gateway (FRITZ!Box)",
    ),
    (
        replace(VALID, holders=(PortHolder(Transport.TCP, 5000, "0.0.0.0", "synology"),)),
        "ports",
        "fail",
        "synology has tcp/5000",
    ),
    (
        replace(VALID, holders=(PortHolder(Transport.UDP, 1900, "0.0.0.0", "minidlnad"),)),
        "ports",
        "warn",
        "minidlnad also listens on udp/1900",
    ),
    (
        replace(VALID, holders=(PortHolder(Transport.UDP, 5351, "192.168.1.1", None),)),
        "ports",
        "warn",
        "another process has udp/5351",
    ),
    (replace(VALID, state_problem="cannot be written: Read-only file system"), "state", "fail", "Read-only"),
]


@pytest.mark.parametrize(("scene", "name", "outcome", "message"), CASES)
def test_each_fault_is_found_with_a_remedy_and_nothing_else(
    scene: MachineState, name: str, outcome: str, message: str
) -> None:
    found = [check for check in judge(scene) if check.outcome != "ok"]
    about = [check for check in found if check.name == name]
    assert [(check.outcome, message in check.finding) for check in about] == [(outcome, True)], about
    assert all(check.remedy for check in found)
    assert {check.name for check in found} - {name} <= ({"external address"} if name == "interface" else set())


def test_a_sound_machine_has_nothing_wrong() -> None:
    checks = judge(VALID)
    assert {check.outcome for check in checks} == {"ok"}
    unnamed = "a LAN that is no bridge is not mentioned, nor one with NAT, nor a miniupnpd that left nothing"
    assert len(checks) >= len(CHECKS) - 3, unnamed
    assert all(check.remedy is None for check in checks)


def test_without_nat_no_external_address_is_needed() -> None:
    checks = judge(replace(VALID, config=replace(HOME, nat=False), links=(link("eth0"), LAN)))
    assert {check.outcome for check in checks} == {"ok"}
    assert [c.finding[:10] for c in checks if c.name in ("external address", "hosts without NAT")] == [
        "LAN br-lan",
        "a firewall",
    ]


PUBLIC_LAN = link("lab", "9.9.8.1/24")


def test_without_nat_the_wan_needs_no_public_address() -> None:
    config = replace(HOME, lan=("lab",), nat=False, firewall=FirewallMode.ROUTER)
    machine = replace(VALID, config=config, links=(link("eth0", "10.0.0.2/30"), PUBLIC_LAN))
    checks = {check.name: check for check in judge(machine)}
    assert {check.outcome for check in checks.values()} == {"ok"}
    assert checks["external address"].finding == "LAN lab has no NAT: its hosts have their own addresses outside"
    assert checks["router mode"].finding == "filters are installed by upnp-gw at the start"


def test_private_addresses_without_nat_are_mentioned() -> None:
    """In a company that is no fault."""
    (check,) = [c for c in judge(replace(VALID, config=replace(HOME, nat=False))) if c.name == "external address"]
    assert check.outcome == "ok"
    assert "no NAT, and 192.168.1.0/24 is private (RFC 1918): only networks with a route" in check.finding


def test_beside_a_lan_with_nat_the_wan_is_checked() -> None:
    config = replace(HOME, lan=("lab", "br-lan"), nat_of_lan={"lab": False})
    machine = replace(VALID, config=config, links=(link("eth0", "10.0.0.2/30"), PUBLIC_LAN, LAN))
    found = [check.outcome for check in judge(machine) if check.name == "external address"]
    assert found == ["ok", "warn"]


def test_the_whole_line_to_add_is_printed() -> None:
    (check,) = [c for c in judge(replace(VALID, drops=(DROP,))) if c.name == "other tables"]
    assert check.remedy is not None
    assert check.remedy.endswith(f": {LINE}")
    (check,) = [c for c in judge(replace(VALID, drops=(FIREWALLD,))) if c.name == "other tables"]
    assert check.remedy == "firewall-cmd --a && firewall-cmd --b", "firewalld writes it down itself"


ROUTER = replace(VALID, config=replace(HOME, firewall=FirewallMode.ROUTER), forwarding4=False, forwarding6=False)
OWN = tuple(PortHolder(*port, "0.0.0.0", "python3", 77) for port in VALID.served)


def test_router_mode_switches_forwarding_on_itself() -> None:
    assert {check.outcome for check in judge(ROUTER)} == {"ok"}
    findings = {check.finding for check in judge(ROUTER) if check.name in ("forwarding", "router mode")}
    assert findings == {
        "IPv4 is not forwarded yet: router mode switches it on at the start",
        "IPv6 is not forwarded yet: router mode switches it on at the start",
        "masquerade and filters are installed by upnp-gw at the start",
    }


def test_while_router_mode_runs_forwarding_that_is_off_is_a_fault() -> None:
    found = [check for check in judge(replace(ROUTER, daemon_pid=77, holders=OWN)) if check.outcome == "fail"]
    assert [check.name for check in found] == ["forwarding", "forwarding"]
    assert all("another program switched it off" in check.finding for check in found)


def test_another_forward_filter_keeps_router_mode_from_starting() -> None:
    beside = replace(ROUTER, forward_filters=("chain inet filter forward",))
    (check,) = [check for check in judge(beside) if check.outcome == "fail"]
    assert check.finding == (
        "it does not start: chain inet filter forward of another firewall filters forwarded packets"
    )
    assert "allow_other_forward = true" in str(check.remedy)
    both = replace(beside, config=replace(beside.config, allow_other_forward=True))
    assert {check.outcome for check in judge(both)} == {"ok"}
    alongside = replace(VALID, forward_filters=("chain inet filter forward",))
    assert {check.outcome for check in judge(alongside)} == {"ok"}


def test_the_memory_backend_needs_no_forwarding() -> None:
    memory = replace(VALID, config=replace(HOME, backend="memory"), forwarding4=False, forwarding6=False)
    assert {check.name for check in judge(memory) if check.outcome != "ok"} == {"nftables"}


def test_the_emulator_needs_no_wan_interface_and_no_flag_of_the_loopback() -> None:
    config = Config(wan="emulated", lan=("lo",), external_addresses=(IPv4Address("11.22.33.44"),), backend="memory")
    lo = replace(VALID, config=config, links=(link("lo", "127.0.0.1/8"),), multicast={"lo": False})
    assert {check.name for check in judge(lo) if check.outcome != "ok"} == {"nftables"}


def test_the_pages_that_findings_name_exist() -> None:
    named = [value for name, value in vars(guides).items() if name.isupper() and isinstance(value, str)]
    named += guides.OF_PROGRAM.values()
    assert [page for page in named if not (ROOT / page).is_file()] == []
    assert guides.OF_PROGRAM.keys() == {"firewalld", "iptables", "nftables", *(name for name, _ in MARKS)}


def test_a_finding_names_the_page_about_the_program_that_wrote_the_chain() -> None:
    (finding,) = [check for check in judge(replace(VALID, drops=(replace(DROP, program="ufw"),))) if check.guide]
    assert (finding.name, finding.guide) == ("other tables", "docs/guides/ufw.md")


def port_findings(scene: MachineState) -> list[tuple[str, str]]:
    return [(check.outcome, check.finding) for check in judge(scene) if check.name == "ports"]


def test_ports_are_free_before_the_daemon_runs_and_served_by_it_afterwards() -> None:
    assert port_findings(VALID) == [("ok", "udp/1900, udp/5351 and tcp/5000 are free")]
    running = replace(VALID, daemon_pid=77, holders=OWN)
    assert port_findings(running) == [("ok", "udp/1900, udp/5351 and tcp/5000 are served by upnp-gw (pid 77)")]
    assert port_findings(replace(running, holders=OWN[:1])) == [
        ("ok", "udp/1900 is served by upnp-gw (pid 77)"),
        ("ok", "udp/5351 and tcp/5000 are free"),
    ]


def test_only_served_ports_are_listed() -> None:
    assert port_findings(replace(VALID, served=((UDP, 1900),))) == [("ok", "udp/1900 is free")]


def test_another_program_on_our_ports_is_named_with_its_pid() -> None:
    other = PortHolder(UDP, 1900, "0.0.0.0", "minidlnad", 12)
    assert port_findings(replace(VALID, daemon_pid=77, holders=(*OWN, other))) == [
        (
            "warn",
            "minidlnad (pid 12) also listens on udp/1900 on 0.0.0.0: a unicast search reaches only one",
        ),
        ("ok", "udp/1900, udp/5351 and tcp/5000 are served by upnp-gw (pid 77)"),
    ]


def test_another_daemon_is_named_as_such() -> None:
    daemon = tuple(replace(holder, process="upnp-gw") for holder in OWN)
    assert port_findings(replace(VALID, holders=daemon)) == [
        ("warn", "udp/1900, udp/5351 and tcp/5000 are served by another upnp-gw (pid 77)")
    ]


@pytest.mark.spec("SR-21")
def test_text_of_another_gateway_is_escaped_on_a_terminal() -> None:
    evil = "\x1b]0;x\x07\r\nok  \u202e" + "y" * 999
    scene = replace(VALID, gateways=(OtherGateway("br-lan", ip_address("192.168.1.9"), evil, evil),))
    for check in judge(scene):
        assert check.finding.isprintable()
        assert len(check.finding) < 200
        assert (check.remedy or "").isprintable()


def commands_of(scene: MachineState) -> list[tuple[list[str], bool]]:
    return [(check.commands, check.lasting) for check in judge(scene) if check.commands]


def test_commands_that_mend_a_fault_are_listed_to_be_run() -> None:
    assert commands_of(VALID) == []
    assert commands_of(replace(VALID, forwarding4=False)) == [(["sysctl -w net.ipv4.ip_forward=1"], False)]
    assert commands_of(replace(VALID, drops=(DROP,))) == [([LINE], False)]
    assert commands_of(replace(VALID, drops=(FIREWALLD,))) == [(["firewall-cmd --a", "firewall-cmd --b"], True)]
    assert commands_of(replace(VALID, missing=(MISSING,))) == [(["nft one", "nft two"], False)]
    assert commands_of(replace(VALID, links=(WAN, link("br-lan", up=False)))) == [
        (["ip link set br-lan up"], False)
    ]


def test_no_command_is_listed_that_a_person_has_to_complete() -> None:
    rich = "firewall-cmd --permanent --add-rich-rule 'rule family=ipv6 destination address=HOST accept'"
    assert commands_of(replace(VALID, drops=(replace(FIREWALLD, lines=(rich, "firewall-cmd --reload")),))) == []
    foreign = replace(DROP, lines=("nft insert rule inet caf\u00e9 forward ct status dnat accept",))
    assert commands_of(replace(VALID, drops=(foreign,))) == []


def test_forwarding_of_ipv6_needs_a_filter_first_and_keeps_the_address_of_the_wan() -> None:
    off = replace(VALID, forwarding6=False)
    forward = "sysctl -w net.ipv6.conf.all.forwarding=1"
    assert commands_of(off) == [([forward], False)]
    assert commands_of(replace(off, filters_ipv6=False)) == []
    (check,) = [check for check in judge(replace(off, filters_ipv6=False)) if check.outcome == "warn"]
    assert check.remedy is not None
    assert check.remedy.startswith("first filter IPv6 connections from eth0")
    adverts = replace(off, config=replace(HOME, wan="eth0.7"), links=(link("eth0.7", "9.9.9.7/24"), LAN))
    assert commands_of(replace(adverts, wan_takes_adverts=True)) == [
        (["sysctl -w net/ipv6/conf/eth0.7/accept_ra=2", forward], False)
    ]


def test_commands_that_take_something_from_others_say_so() -> None:
    def cautions(scene: MachineState) -> list[str | None]:
        return [check.caution for check in judge(scene) if check.commands]

    assert cautions(replace(VALID, drops=(DROP,), forwarding4=False)) == [None, None]
    assert cautions(replace(VALID, bridge_filters={"br-lan": "sysctl -w x=0"})) == [
        "Kubernetes, and Docker with icc = false, need it to be 1"
    ]
    assert cautions(replace(VALID, forwarding4=False, missing=(MISSING,)))[0] is not None
    moved = replace(FIREWALLD, lines=("firewall-cmd --permanent --zone internal --change-interface br-lan",))
    (caution,) = cautions(replace(VALID, drops=(moved,)))
    assert caution == "the interface moves to another zone of firewalld, with the rules of that zone"
