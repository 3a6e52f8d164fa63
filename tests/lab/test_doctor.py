"""The doctor on a bare machine, before the daemon runs and while it runs, in every mode."""

import json
import re
from pathlib import Path

import pytest

from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.lab import Lab
from upnp_gw.lab.topology import Topology

pytestmark = pytest.mark.lab

Told = dict[tuple[str, str], list[str]]
"""(check, outcome) -> findings."""
HOME = ("--lan", "lan0", "--wan", "wan0")
FREE = ["udp/1900, udp/5351 and tcp/5000 are free"]


def examined(daemon: LabDaemon, *options: str) -> Told:
    checks: Told = {}
    for check in json.loads(daemon.cli("doctor", "--json", *options, check=False).stdout):
        checks.setdefault((check["name"], check["outcome"]), []).append(check["finding"])
    return checks


def faults(checks: Told) -> set[str]:
    return {name for name, outcome in checks if outcome != "ok"}


def served(daemon: LabDaemon) -> list[str]:
    return [f"udp/1900, udp/5351 and tcp/5000 are served by upnp-gw (pid {daemon.pid})"]


def test_in_every_mode_it_asks_for_nothing_that_the_daemon_does_and_knows_its_ports(
    namespaces: None, tmp_path: Path
) -> None:
    with Lab(Topology()) as lab:
        modes = {
            "alongside": (*HOME, "--firewall", "alongside"),
            "router": (*HOME, "--firewall", "router"),
            "memory": ("--lan", "lo", "--backend", "memory"),
        }
        needed = {"alongside": {"forwarding"}, "router": set(), "memory": {"nftables"}}
        for mode in ("alongside", "router", "memory"):  # before router mode nothing is forwarded
            daemon = LabDaemon(lab.gateway, tmp_path / mode, *modes[mode])
            before = examined(daemon, *modes[mode])
            assert faults(before) == needed[mode] | {"daemon"}, mode
            assert before["ports", "ok"] == FREE
            with daemon:
                running = examined(daemon)
                assert faults(running) == needed[mode], mode
                assert running["ports", "ok"] == served(daemon)
                if mode == "alongside":
                    (left_out,) = examined(daemon, *modes[mode])["daemon", "ok"]
                    assert re.fullmatch(
                        "upnp-gw runs, and its own configuration is checked; ignored: --lan, .*", left_out
                    )
                    elsewhere = LabDaemon(lab.gateway, tmp_path / "elsewhere")
                    (taken,) = examined(elsewhere, *modes[mode])["ports", "warn"]
                    assert taken.endswith(f"are served by another upnp-gw (pid {daemon.pid})")
        assert examined(daemon, *modes[mode])["ports", "ok"] == FREE, "after it was stopped"


def test_a_foreign_filter_of_forwarded_traffic_is_reported_before_router_mode_fails(
    namespaces: None, tmp_path: Path
) -> None:
    with Lab(Topology()) as lab:
        lab.gateway.run(
            ["nft", "-f", "-"],
            text="table inet other { chain foreign { type filter hook forward priority filter; policy drop; }; }",
        )
        daemon = LabDaemon(lab.gateway, tmp_path, *HOME, "--firewall", "router")
        result = examined(daemon, *HOME, "--firewall", "router")
        assert result["router mode", "fail"] == [
            "it does not start: chain inet other foreign of another firewall filters forwarded packets"
        ]


def test_answers_that_leave_by_another_interface_are_found(namespaces: None, tmp_path: Path) -> None:
    """As with a VPN that takes the default route; also where a rule of policy routing sends them there."""
    with Lab(Topology()) as lab:
        gateway = lab.gateway
        gateway.sysctl("net/ipv4/ip_forward", "1")
        with LabDaemon(gateway, tmp_path, *HOME) as daemon:
            assert examined(daemon)["answers", "ok"] == ["answers to mapped connections leave by the WAN wan0"]
            gateway.ip(
                "link add vpn0 type veth peer name vpn1",
                "link set vpn1 up",
                "link set vpn0 up",
                "route add default dev vpn0 table 77",
                "rule add iif lan0 table 77",
            )
            (found,) = examined(daemon)["answers", "warn"]
            assert found.startswith(
                "hosts on lan0 reach the internet by vpn0, not by the WAN wan0: answers to mapped"
            )
            gateway.ip("rule del iif lan0 table 77", "route add default dev vpn0 metric 1")
            gateway.ip("route del default via 11.22.33.1")
            assert examined(daemon)["answers", "warn"] == [found]
