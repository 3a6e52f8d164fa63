"""The lab itself: what it wires, what it proves, what it leaves behind."""

import os
import select
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import product
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from upnp_gw.lab import GUEST, HOME, INNER, OFFICE, Lab, LanHost, Topology, addresses
from upnp_gw.lab.addresses import await_addresses
from upnp_gw.lab.lab import FORWARDING
from upnp_gw.lab.probe import REFUSED_S, EchoServer, dial, reach
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

BOTH = pytest.mark.parametrize("transport", list(Transport))

NAT = """
table ip lab_nat {
  chain pre {
    type nat hook prerouting priority dstnat;
    iifname wan0 meta l4proto { tcp, udp } th dport 3075 dnat to 192.168.77.10:3074;
  }
  chain post { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }
}
"""


def namespace() -> str:
    return os.readlink("/proc/thread-self/ns/net")


@BOTH
def test_a_packet_between_lan_hosts_arrives_and_names_the_answering_host(lab: Lab, transport: Transport) -> None:
    console, pc = lab.hosts["console"], lab.hosts["pc"]
    with EchoServer(console, transport, 3074) as server:
        proof = reach(pc, transport, console.address, 3074, source_port=4000)
        proof6 = reach(pc, transport, console.ula, 3074)
    assert (proof.arrived, proof.how, proof.answered_by) == (True, "echoed", "console")
    assert (proof.seen_from, proof.seen_port) == (pc.address, 4000)
    assert proof6.arrived
    assert proof6.seen_from == pc.ula
    assert [seen.address for seen in server.seen] == [pc.address, pc.ula]


@BOTH
def test_nothing_listens_is_a_reset(lab: Lab, transport: Transport) -> None:
    """It is known at once: to wait for the whole time would be a timeout."""
    proof = reach(lab.hosts["pc"], transport, lab.hosts["console"].address, 9)
    assert (proof.arrived, proof.how) == (False, "reset")


@BOTH
def test_a_drop_is_a_timeout_and_no_route_is_unreachable(fresh_lab: Lab, transport: Transport) -> None:
    console, pc = fresh_lab.hosts["console"], fresh_lab.hosts["pc"]
    console.nft("table ip t { chain c { type filter hook input priority 0; drop; }; }")
    assert reach(pc, transport, console.address, 9, timeout=0.2).how == "timeout"
    pc.ip("route del default")
    assert reach(pc, transport, IPv4Address("8.8.8.8"), 9).how == "unreachable"


@BOTH
def test_the_gateway_of_the_lab_translates_only_by_rules_of_the_test(fresh_lab: Lab, transport: Transport) -> None:
    lab = fresh_lab
    console, peer = lab.hosts["console"], lab.hosts["peer1"]
    with EchoServer(console, transport, 3074):
        assert not reach(peer, transport, lab.external[0], 3075, timeout=0.2).arrived
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        lab.gateway.nft(NAT)
        proof = reach(peer, transport, lab.external[0], 3075)
    assert proof.arrived
    assert proof.answered_by == "console"
    assert proof.seen_from == peer.address


def test_a_pinhole_can_be_proved_from_the_internet(fresh_lab: Lab) -> None:
    console, peer = fresh_lab.hosts["console"], fresh_lab.hosts["peer2"]
    fresh_lab.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
    with EchoServer(console, Transport.TCP, 3074):
        proof = reach(peer, Transport.TCP, console.address6, 3074)
    assert proof.arrived
    assert proof.seen_from == peer.address6


def test_a_game_asks_from_its_listening_port(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.gateway.sysctl("net/ipv4/ip_forward", "1")
    lab.gateway.nft(NAT)
    console, peer = lab.hosts["console"], lab.hosts["peer1"]
    with EchoServer(console, Transport.UDP, 3074) as game, EchoServer(peer, Transport.UDP, 5000):
        proof = game.reach(peer.address, 5000)
        assert not game.reach(peer.address, 5001, timeout=0.2).arrived
    assert proof.arrived
    assert (proof.seen_from, proof.seen_port) == (lab.external[0], 3074)
    with EchoServer(console, Transport.TCP, 3074), EchoServer(peer, Transport.TCP, 5000):
        proof = reach(console, Transport.TCP, peer.address, 5000, source_port=3074)
    assert proof.arrived
    assert proof.seen_port == 3074


def test_a_live_flow_can_be_asked_again(lab: Lab) -> None:
    console, pc = lab.hosts["console"], lab.hosts["pc"]
    with (
        EchoServer(console, Transport.TCP, 3074),
        dial(pc, Transport.TCP, console.address, 3074) as call,
    ):
        assert call.ask().arrived
        assert call.ask().arrived


def test_inside_moves_this_thread_and_comes_back_after_an_error(lab: Lab) -> None:
    home, elsewhere = namespace(), []

    def fail_inside() -> None:
        with lab.hosts["console"].inside():
            elsewhere.append(namespace())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert namespace() == home != elsewhere[0]
    assert elsewhere[0] == lab.hosts["console"].call(namespace)


def test_sys_and_proc_show_the_host(lab: Lab) -> None:
    shown = lab.gateway.call(lambda: {path.name for path in Path("/sys/class/net").iterdir()})
    assert shown == {"lo", "wan0", "lan0"}
    assert lab.gateway.sysctl("net/ipv4/ip_forward") == "0"


def test_hosts_have_their_fixed_macs_and_both_families(lab: Lab) -> None:
    console = lab.hosts["console"]
    links = console.run(["ip", "-o", "link", "show", "eth0"]).stdout
    assert console.mac == "ac:89:95:00:00:01"
    assert console.mac in links
    addresses = console.run(["ip", "-o", "address"]).stdout
    assert "tentative" not in addresses
    assert "fe80::ae89:95ff:fe00:1" in addresses


def test_a_wide_topology_and_a_late_host(namespaces: None) -> None:
    with Lab(Topology(lans=(HOME, GUEST), peers=("a", "b", "c"), external=2)) as lab:
        guest, console = lab.hosts["guest"], lab.hosts["console"]
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        for address in (console.address, *lab.external):
            assert reach(guest, Transport.UDP, address, 9).how == "reset"
        late = lab.add_host("lan0", LanHost("late", 30, "ac:89:95:00:00:0f"))
        assert reach(late, Transport.TCP, console.address, 9).how == "reset"


@BOTH
def test_public_hosts_are_reached_at_their_own_addresses_also_behind_a_router(
    namespaces: None, transport: Transport
) -> None:
    office = replace(OFFICE, routers=(INNER,))
    with Lab(Topology(lans=(HOME, office))) as lab:
        peer, desk, rack = (lab.hosts[name] for name in ("peer1", "desk", "rack"))
        with EchoServer(rack, transport, 3074), EchoServer(desk, transport, 3074):
            assert not reach(peer, transport, rack.address, 3074, timeout=0.2)
            for key in FORWARDING:
                lab.gateway.sysctl(key, "1")
            for client, host, version in product((peer, desk), (rack, desk), (4, 6)):
                address, own = (host.address, client.address) if version == 4 else (host.address6, client.address6)
                proof = reach(client, transport, address, 3074)
                assert (proof.answered_by, proof.seen_from) == (host.name, own)
            with lab.unplugged("rack"):
                assert not reach(peer, transport, rack.address, 3074, timeout=0.2)
        assert lab.hosts["inner"].address == INNER.lan.network[1]


def test_a_new_address_is_awaited_until_its_host_answers_for_it(fresh_lab: Lab) -> None:
    pc, address = fresh_lab.hosts["pc"], HOME.network6[0x99]
    for key, value in (("accept_dad", "1"), ("dad_transmits", "1"), ("router_solicitation_delay", "0")):
        pc.sysctl(f"net/ipv6/conf/eth0/{key}", value)
    pc.ip(f"addr add {address}/64 dev eth0")
    await_addresses(pc)
    assert "tentative" not in pc.run(["ip", "-6", "addr", "show", "dev", "eth0"]).stdout
    assert reach(fresh_lab.hosts["console"], Transport.UDP, address, 9, timeout=REFUSED_S).how == "reset"


def test_an_address_that_never_comes_is_reported(fresh_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LONGEST_S", 0.1)
    address = HOME.network6[0x99]
    fresh_lab.hosts["pc"].ip("link set eth0 arp off", f"addr add {address}/64 dev eth0 nodad")
    with pytest.raises(addresses.AddressesLate, match=str(address)):
        await_addresses(fresh_lab.hosts["pc"])


def test_unplugged_host_is_silent_and_back_again(fresh_lab: Lab) -> None:
    console, pc = fresh_lab.hosts["console"], fresh_lab.hosts["pc"]
    with EchoServer(console, Transport.UDP, 3074):
        with fresh_lab.unplugged("console"):
            assert not reach(pc, Transport.UDP, console.address, 3074, timeout=0.2).arrived
        assert reach(pc, Transport.UDP, console.address, 3074).arrived


def test_a_failed_command_is_reported_with_its_output(lab: Lab) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        lab.gateway.run(["sh", "-c", "echo so; echo bad >&2; exit 3"])
    assert (failed.value.returncode, failed.value.stdout, failed.value.stderr) == (3, "so\n", "bad\n")
    with pytest.raises(subprocess.TimeoutExpired):
        lab.gateway.run(["sleep", "60"], timeout=0.05)
    assert lab.gateway.run(["cat"], text="through").stdout == "through"


def test_the_end_of_a_lab_ends_its_processes(namespaces: None) -> None:
    with Lab(Topology(peers=())) as lab:
        polite = lab.gateway.popen(["sleep", "600"])
        deaf = lab.hosts["pc"].popen([sys.executable, "-c", "print('up', flush=True); input()"], stdin=-1)
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == "up\n"
        descriptors = [host.descriptor for host in lab.hosts.values()]
    assert polite.returncode is not None
    assert deaf.returncode is not None
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_killed_lab_leaves_no_process_and_no_namespace(namespaces: None) -> None:
    """SIGKILL runs no clean-up: the kernel has to do it all."""
    program = (
        "from upnp_gw.lab import *; import os\n"
        "lab = Lab().__enter__(); child = lab.gateway.popen(['sleep', '600'])\n"
        "print(child.pid, lab.gateway.call(lambda: os.readlink('/proc/thread-self/ns/net')), flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child, net = process.stdout.readline().split()
        name = Path(f"/proc/{child}/comm")
        assert until(lambda: name.read_text() == "sleep\n"), "setpriv has set the signal that ends it"
        removed = os.pidfd_open(int(child))
        process.kill()
    with os.fdopen(removed) as watch:
        assert select.select([watch], [], [], 30)[0], "the child outlived its lab"
    assert until(lambda: net not in network_namespaces()), "processes of the lab are left"


def network_namespaces() -> set[str]:
    """The namespaces of all processes that this user may look at."""
    names = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with suppress(OSError):  # the process has ended meanwhile, or is another user's
            names.add(os.readlink(path))
    return names
