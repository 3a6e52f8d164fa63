"""A host on the guest LAN copies the MAC address of a device on the home LAN: it stays another device.

The NAS is on lan0, its twin on lan1. Packets from the internet tell whether a port of the NAS is open.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Network
from itertools import product

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, served_home
from tests.lab.igd_control_point import ControlPoint, Fault, refused
from tests.lab.test_pinholes import at, pinhole
from tests.lab.test_port5351 import NONCE, Talk, link_local, talk
from upnp_gw.lab import GUEST, HOME, Host, Lab, Topology
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.lab.topology import LanHost
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import ANY_IPV4, ANY_IPV6, MapData, Request, ResultCode, ThirdParty

pytestmark = pytest.mark.lab

NAS = LanHost("nas", 10, "00:11:32:00:00:02")
TWIN = LanHost("twin", 20, NAS.mac)
TWINS = Topology(lans=(replace(HOME, hosts=(NAS,)), replace(GUEST, hosts=(TWIN,))))
SERVICE = "WANIPv6FirewallControl"
PORT = 8080
ROUTED = IPv4Network("10.0.40.0/28")

BASE = f"""
version = 1
default = "deny"
[limits]
per_device = 400
requests_per_minute = 6000
incident_after = 1000
[device.nas]
mac = ["{NAS.mac}"]
[zone]
main = ["{HOME.network}", "{HOME.network6}"]
guest = ["{GUEST.network}", "{GUEST.network6}"]
"""
MAIN_ONLY = f"""{BASE}
[[grant]]
name = "nas-at-home"
who = "nas"
zone = "main"
"""
GUEST_FORBIDDEN = f"""{BASE}
[[forbid]]
name = "guests-open-nothing"
zone = "guest"
[[grant]]
name = "nas-anywhere"
who = "nas"
"""
ANYBODY = f"""{BASE}
[[grant]]
name = "everyone"
who = "*"
"""


@dataclass
class Copied:
    """The gateway with both LANs, and the twin's ways to ask."""

    home: Home

    @property
    def nas(self) -> Host:
        return self.home.lab.hosts["nas"]

    @property
    def twin(self) -> Host:
        return self.home.lab.hosts["twin"]

    def policy(self, text: str) -> None:
        """Puts this policy in force."""
        (self.home.daemon.runtime_dir.parent / "policy.toml").write_text(text)
        self.home.ask("POST", "/v1/reload")

    def point(self, name: str) -> ControlPoint:
        return self.home.point(name, IgdVersion.IGD2)

    def pcp(self, name: str, way: str = "ip4") -> AbstractContextManager[Talk]:
        """Port 5351 of the gateway, over IPv4, the host's global IPv6 address, or its link-local one."""
        host, lan = (self.nas, HOME) if name == "nas" else (self.twin, GUEST)
        if way == "local":
            return talk(host, link_local(host, "eth0"), link_local(self.home.gateway, lan.interface))
        if way == "ip6":
            return talk(host, host.address6, lan.network6[1])
        return talk(host, host.address, lan.network[1])

    def third_party(self, target: IPAddress, way: str, lifetime: int = 600) -> ResultCode:
        """The twin's PCP MAP in favour of another host."""
        unset = ANY_IPV4 if target.version == 4 else ANY_IPV6
        data = MapData(NONCE, TCP.number, PORT, PORT if lifetime else 0, unset)
        with self.pcp("twin", way) as line:
            request = Request(lifetime, line.own, data, (ThirdParty(target),))
            return codec.parse_response(line.ask(codec.build_request(request))).result

    def shut(self) -> bool:
        """No packet from the internet arrives at the NAS, over IPv4 and IPv6."""
        return self.home.shut(PORT) and not at(self.home.peer, self.nas.address6, PORT)


@pytest.fixture(scope="module")
def module_copied(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    directory = tmp_path_factory.mktemp("d")
    config = directory / "config.toml"
    config.write_text(f'[lan]\nrouted = ["{ROUTED}"]\n')
    options = (*ROUTER, "--config", str(config))
    with served_home(directory, *options, topology=TWINS, policy=MAIN_ONLY, before=behind_the_nas) as home:
        home.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        yield Copied(home)


def behind_the_nas(lab: Lab) -> None:
    """The NAS is the router of another prefix too, and has an address of it itself."""
    lab.hosts["nas"].ip(f"addr add {ROUTED[3]}/32 dev lo")
    lab.gateway.ip(f"route add {ROUTED} via {lab.hosts['nas'].address}")


@pytest.fixture
def copied(module_copied: Copied) -> Iterator[Copied]:
    yield module_copied
    module_copied.home.clear()


def attempts(copied: Copied) -> dict[str, Callable[[], bool]]:
    """Every way to open a port of the NAS that the twin has: its name, and whether the gateway said yes."""
    nas, point = copied.nas, copied.point("twin")
    targets: tuple[IPAddress, ...] = (nas.address, nas.address6)

    def igd(call: Callable[[], object]) -> bool:
        with suppress(Fault):
            call()
            return True
        return False

    def mapped(target: IPAddress, way: str) -> bool:
        return copied.third_party(target, way) == ResultCode.SUCCESS

    return {
        "AddPortMapping": lambda: igd(lambda: point.add(PORT, NewInternalClient=nas.address)),
        "AddAnyPortMapping": lambda: igd(lambda: point.add_any(PORT, NewInternalClient=nas.address)),
        "AddPinhole": lambda: igd(lambda: pinhole(point, PORT, InternalClient=nas.address6)),
        **{
            f"PCP MAP for {target} over {way}": partial(mapped, target, way)
            for target, way in product(targets, ("ip4", "ip6", "local"))
        },
    }


@pytest.mark.parametrize("policy", [MAIN_ONLY, GUEST_FORBIDDEN, ANYBODY], ids=["zone", "forbid", "anybody"])
def test_a_copied_mac_on_another_lan_opens_no_port_of_the_device(copied: Copied, policy: str) -> None:
    """Under a grant for the home LAN's zone, under the policy guide's forbid for guests, under a grant for all."""
    copied.policy(policy)
    copied.point("nas")  # the gateway knows the NAS by now
    with EchoServer(copied.nas, TCP, PORT):
        granted = [what for what, opened in attempts(copied).items() if opened()]
        assert copied.shut(), granted
        assert not granted
        assert copied.home.rows() == []
        copied.point("nas").add(PORT)
        pinhole(copied.point("nas"), PORT)
        assert copied.home.reach(PORT).answered_by == "nas"
        assert at(copied.home.peer, copied.nas.address6, PORT).answered_by == "nas"


def test_a_copied_mac_on_another_lan_ends_and_sees_no_mapping_of_the_device(copied: Copied) -> None:
    """Under a policy that lets everybody map: even then a mapping is its holder's alone."""
    copied.policy(ANYBODY)
    own, point = copied.point("nas"), copied.point("twin")
    with copied.pcp("nas") as line:
        assert line.map(PORT, PORT, 600).result == 0
        line.ask(natpmp.build_request(natpmp.MappingRequest(TCP, PORT, PORT, 600)))
    own.add(PORT)
    number = pinhole(own, PORT)
    with EchoServer(copied.nas, TCP, PORT):
        with refused(606):
            point.delete(PORT)
        with refused(730):
            point.call("DeletePortMappingRange", NewStartPort=1, NewEndPort=65535, NewProtocol="TCP", NewManage=1)
        with refused(606):
            point.call("DeletePinhole", SERVICE, UniqueID=number)
        with refused(606):
            point.call("UpdatePinhole", SERVICE, UniqueID=number, NewLeaseTime=60)
        for way in ("ip4", "ip6", "local"):
            assert copied.third_party(copied.nas.address, way, lifetime=0) != ResultCode.SUCCESS
            assert copied.third_party(copied.nas.address6, way, lifetime=0) != ResultCode.SUCCESS
        with copied.pcp("twin") as line:
            line.ask(natpmp.build_request(natpmp.MappingRequest(TCP, PORT, 0, 0)))
            line.ask(natpmp.build_request(natpmp.MappingRequest(TCP, 0, 0, 0)))
        with refused(718):
            point.add(PORT)
        with refused(606):
            point.specific(PORT)
        with refused(713):
            point.generic(0)
        with refused(730):
            point.call(
                "GetListOfPortMappings",
                NewStartPort=1,
                NewEndPort=65535,
                NewProtocol="TCP",
                NewManage=1,
                NewNumberOfPorts=0,
            )
        assert copied.home.reach(PORT).answered_by == "nas"
        assert at(copied.home.peer, copied.nas.address6, PORT).answered_by == "nas"
    kinds = {row["kind"]: row for row in copied.home.rows()}
    assert sorted(kinds) == ["pinhole", "port-mapping"]
    assert set(kinds["port-mapping"]["vias"]) == {"igd2", "natpmp", "pcp"}, "every lease on it"


def known_anew(copied: Copied, name: str) -> None:
    """The gateway forgets a host that is there, and sees it again."""
    host = copied.home.lab.hosts[name]
    interface = "lan0" if name == "nas" else "lan1"
    copied.home.gateway.ip(f"neigh flush dev {interface}")
    assert until(lambda: reach(host, UDP, gateway_at(copied, interface), 9, timeout=0.1).how == "reset")


def gateway_at(copied: Copied, interface: str) -> IPAddress:
    return next(lan.network[1] for lan in copied.home.lab.topology.lans if lan.interface == interface)


def test_a_laptop_that_moves_to_the_home_lan_takes_its_port_along_and_a_guest_cannot(copied: Copied) -> None:
    """Its old mapping is parked when its MAC address is seen at home, and ends when it asks for the port there. The
    other way round it stays reserved: a guest would end what the NAS holds while it sleeps."""
    copied.policy(ANYBODY)
    copied.point("nas")
    copied.point("twin").add(PORT)
    with copied.home.watch() as watch, EchoServer(copied.nas, TCP, PORT), EchoServer(copied.twin, TCP, PORT):
        assert copied.home.reach(PORT).answered_by == "twin"
        known_anew(copied, "nas")
        with refused(718):
            copied.point("nas").add(PORT)
        with copied.home.lab.unplugged("twin"):
            known_anew(copied, "nas")
            watch.wait("changed", external_port=PORT, state="parked")
            assert copied.home.shut(PORT)
            copied.point("nas").add(PORT)
            watch.wait("removed", external_port=PORT, why="device-moved")
            assert copied.home.reach(PORT).answered_by == "nas"
        with copied.home.lab.unplugged("nas"):
            known_anew(copied, "twin")
            watch.wait("changed", external_port=PORT, state="parked", device=f"{NAS.mac}@lan0")
            with refused(718):
                copied.point("twin").add(PORT)
        known_anew(copied, "nas")
        watch.wait("changed", external_port=PORT, state="active", device=f"{NAS.mac}@lan0")
        assert copied.home.reach(PORT).answered_by == "nas"


@pytest.mark.parametrize("stolen", [ROUTED[3], HOME.network[NAS.number]], ids=["behind a router", "the NAS's own"])
def test_a_guest_with_an_address_behind_a_router_of_the_home_lan_is_ignored(
    copied: Copied, stolen: IPAddress
) -> None:
    """Over TCP too: its SYN has an answer where the gateway's socket is bound to the guest LAN."""
    copied.policy(ANYBODY)
    twin, server = copied.twin, GUEST.network[1]
    with EchoServer(copied.nas, TCP, PORT), talk(copied.nas, stolen, HOME.network[1]) as line:
        assert line.map(PORT, PORT, 600).result == 0, "the host that has it"
        assert copied.home.reach(PORT).answered_by == "nas"
        copied.home.clear()
        twin.ip(f"addr add {stolen}/32 dev eth0", f"route add {server}/32 dev eth0 src {stolen}")
        try:
            with talk(twin, stolen, server) as line:
                request = codec.build_request(
                    Request(600, stolen, MapData(NONCE, TCP.number, PORT, PORT, ANY_IPV4), ())
                )
                assert line.silent(request)
            with suppress(OSError, Fault):
                ControlPoint(twin, server).add(PORT, NewInternalClient=stolen)
            assert copied.shut()
            assert copied.home.rows() == []
        finally:
            twin.ip(f"route del {server}/32 dev eth0", f"addr del {stolen}/32 dev eth0")
