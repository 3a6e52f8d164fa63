"""The guides to IPv6, to several LANs and to OpenWrt, followed on a router in a lab."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, SHUT_S, TCP, UDP
from tests.lab.guides.machine import CONFIG, LAN, bash, guide_home
from tests.lab.guides.pages import page, shows
from tests.lab.guides.test_beside import MASQUERADE, RECORDED, arrives, finds, goes_out, pinhole_arrives
from upnp_gw.lab import GUEST, Host, Topology
from upnp_gw.lab.probe import EchoServer, reach

pytestmark = pytest.mark.lab

GUESTS = replace(
    GUEST,
    interface="br-guest",
    network=IPv4Network("192.168.20.0/24"),
    network6=IPv6Network("2a11:2233:0:20::/64"),
)
NEW_PREFIX = IPv6Network("2a11:2233:0:2::/64")


def asked(host: Host, words: str) -> str:
    return bash(host, f"upnp-gw request {words} --via pcp --timeout 2", check=False).stdout


def test_several_lans(namespaces: None, tmp_path: Path) -> None:
    topology = Topology(lans=(LAN, GUESTS), wan="eth0")
    with page("guides/several-lans.md") as guide, guide_home(tmp_path, setup=MASQUERADE, topology=topology) as home:
        for name, heading in (("config", "Serve both"), ("policy", "Guests open nothing, but for one device")):
            text = guide.take(heading, "toml").replace("2001:db8:1::/64", str(LAN.network6))
            home.gateway.run(["tee", f"/etc/upnp-gw/{name}.toml"], text=text)
        friend = home.lab.hosts["guest"]
        assert "no gateway" in asked(friend, "udp 3074"), "not served yet"
        home.shell(guide.take("Guests open nothing, but for one device"))
        stranger = home.lab.add_host(
            "br-guest", replace(GUESTS.hosts[0], name="stranger", number=77, mac="02:00:00:00:00:77")
        )
        assert f"{home.external}:8080 tcp" in asked(home.pc, "tcp 8080")
        assert "2a11:2233:0:1::4d]:8080 tcp" in asked(home.pc, "tcp 8080 --ipv6")
        for host in (stranger, friend):
            assert "refused" in asked(host, "tcp 8080")
            assert "refused" in asked(host, "tcp 8080 --ipv6")
        assert "refused" in asked(stranger, "udp 3074")
        assert f"{home.external}:3074 udp" in asked(friend, "udp 3074")
        with EchoServer(friend, UDP, 3074), EchoServer(home.pc, TCP, 8080):
            assert home.reach(3074, UDP).answered_by == "guest"
            assert home.reach(8080).answered_by == "pc"
        assert f"{GUESTS.hosts[0].mac}@br-guest" in guide.text
        assert f"{GUESTS.hosts[0].mac}@br-guest" in home.shell("upnp-gw devices")


def test_ipv6(namespaces: None, tmp_path: Path) -> None:
    config = CONFIG + '\n[firewall]\nmode = "router"\n'
    with page("guides/ipv6.md") as guide, guide_home(tmp_path, config=config) as home:
        first = guide.take("Try it")
        assert f"[{home.pc.address6}]:8080 tcp" in home.shell(first, host=home.pc)
        assert "tcp6/8080" in home.shell("upnp-gw list")
        second = guide.take("Try it")
        assert "[2001:db8:1::23]" in second
        home.shell(second.replace("2001:db8:1::23", str(home.console.address6)))
        with EchoServer(home.pc, TCP, 8080), EchoServer(home.console, TCP, 443):
            assert reach(home.peer, TCP, home.pc.address6, 8080, timeout=REACHED_S)
            assert reach(home.peer, TCP, home.console.address6, 443, timeout=REACHED_S)
            assert not reach(home.peer, TCP, home.pc.address6, 443, timeout=SHUT_S)
            new = renumbered(home.gateway, home.lab.internet, home.pc)
            assert until(lambda: home.shell("upnp-gw list").startswith("no mappings"))
            assert any("ended: prefix-gone" in line for line in home.daemon.output)
            assert until(lambda: f"[{new}]:8080 tcp" in bash(home.pc, first, check=False).stdout)
            assert reach(home.peer, TCP, new, 8080, timeout=REACHED_S)


def renumbered(gateway: Host, internet: Host, host: Host) -> IPv6Address:
    """The provider gives the LAN another prefix. Returns the new address of a host."""
    old, new = LAN.network6, NEW_PREFIX
    internet.ip(f"route add {new} via 2a11:2233::2c")
    gateway.ip(f"addr add {new[1]}/64 dev br-lan nodad", f"addr del {old[1]}/64 dev br-lan")
    address = new[77]
    host.ip(
        f"addr del {host.address6}/64 dev eth0",
        f"addr add {address}/64 dev eth0 nodad",
        f"route replace default via {new[1]}",
    )
    return address


def test_openwrt(namespaces: None, tmp_path: Path) -> None:
    """The files of ``chain-pre`` come first in their chain."""
    with page("guides/openwrt.md") as guide, guide_home(tmp_path, setup=f"nft -f {RECORDED / 'fw4.nft'}") as home:
        assert finds(home)
        assert goes_out(home)
        home.daemon.cli("add", "tcp", "8443", "192.168.1.23:443", "--ttl", "10m")
        assert not arrives(home)
        assert shows(home.doctor(), guide.take("Beside fw4", "text"))
        lines = guide.take("Beside fw4", "nft").splitlines()
        home.gateway.nft("".join(f"insert rule inet fw4 forward {line}\n" for line in lines))
        assert arrives(home)
        assert pinhole_arrives(home)
