"""The guides beside other firewalls, followed line by line on a router that has that firewall."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, SHUT_S, TCP, UDP
from tests.lab.guides.machine import CONFIG, LAN, GuideHome, bash, guide_home, own_files
from tests.lab.guides.pages import Page, page, shows
from tests.lab.igd_control_point import refused
from tests.lab.test_other_firewalls import SEARCH, answered
from upnp_gw.lab import Host, Topology
from upnp_gw.lab.privilege import TOOL_PATH
from upnp_gw.lab.probe import EchoServer, reach

pytestmark = pytest.mark.lab

AT_ONCE_S = 8.0
UNMARKED = "# upnp-gw"
"""The lines that a guide adds to a file."""
CLEAR = "ok other tables: no other table drops mapped traffic, or packets of LAN hosts to the gateway"


SERVER = "198.51.100.7"
"""The rented server of the page."""
RECORDED = Path(__file__).parent / "recorded"
MASQUERADE = """
nft -f - <<'EOF'
table ip home {
  chain post { type nat hook postrouting priority srcnat; oifname { "eth0", "wg0" } masquerade; }
}
EOF
"""


def loaded(name: str) -> str:
    """Loads rules as iptables-save prints them."""
    return f"iptables-restore --noflush <{RECORDED / name}\n"


def finds(home: GuideHome, seconds: float = REACHED_S) -> bool:
    """A host of the LAN finds the gateway by UPnP and reads its description, and by NAT-PMP."""
    return (
        answered(home, "239.255.255.250", 1900, SEARCH.format("239.255.255.250").encode(), seconds)
        and answered(home, str(home.gateway.address), 5351, bytes(2), seconds)
        and reach(home.pc, TCP, home.gateway.address, 5000, timeout=seconds).how == "closed"
    )


def arrives(home: GuideHome, port: int = 8443) -> bool:
    """A packet from the internet to the port that the operator opened; the block of beside.md opens it."""
    with EchoServer(home.console, TCP, 443):
        return home.reach(port).answered_by == "console"


def goes_out(home: GuideHome) -> bool:
    """The home works: a host of the LAN reaches the internet, with the address of the gateway."""
    with EchoServer(home.peer, TCP, 80):
        return reach(home.pc, TCP, home.peer.address, 80, timeout=REACHED_S).seen_from == home.external


def proved(home: GuideHome) -> bool:
    """The proof of beside.md, block by block."""
    with page("guides/beside.md") as beside:
        home.shell(beside.take("Prove it with a packet"))
        arrived = arrives(home)
        home.shell(beside.take("Prove it with a packet"))
    return arrived and home.shut(8443)


def pinhole_arrives(home: GuideHome, seconds: float = REACHED_S) -> bool:
    """A packet from the internet to a pinhole of the console, which the operator opens."""
    address = home.console.address6
    home.daemon.cli("add", "tcp", "51413", f"[{address}]:51413", "--ttl", "10m")
    with EchoServer(home.console, TCP, 51413):
        return bool(reach(home.peer, TCP, address, 51413, timeout=seconds))


def closed_before(home: GuideHome, guide: Page, heading: str = "What happens") -> None:
    """Before the guide is followed nothing finds the gateway, and the doctor says what the page says."""
    assert goes_out(home)
    assert not finds(home, SHUT_S)
    assert shows(home.doctor(), guide.take(heading, "text"))


def works(home: GuideHome, guide: Page, pinholes: bool = True) -> None:
    """After it a packet arrives, and the doctor agrees."""
    output = home.shell(guide.take("See that it works"), check=False)
    if pinholes:
        assert shows(output, guide.take("See that it works", "text"))
    else:
        assert "packets from hosts on br-lan" not in output
        assert shows(output, "drops traffic to pinholes")
    assert until(lambda: finds(home), AT_ONCE_S)
    assert proved(home)
    assert goes_out(home)


NFTABLES_CONF = "/etc/nftables.conf"


def test_nftables_conf(namespaces: None, tmp_path: Path) -> None:
    with page("guides/nftables.md") as guide:
        whole = guide.take("Let it through", "nft")
        added = [line for line in whole.splitlines() if UNMARKED in line]
        assert len(added) == 4
        before = "".join(f"{line}\n" for line in whole.splitlines() if line not in added)
        with guide_home(tmp_path, setup=f"nft -f - <<'EOF'\n{before}\nEOF") as home:
            closed_before(home, guide)
            home.gateway.run(["tee", NFTABLES_CONF], text=whole)
            home.shell(guide.take("Let it through"))
            works(home, guide)
            assert pinhole_arrives(home)
            home.gateway.run(["tee", NFTABLES_CONF], text=before)
            bash(home.gateway, f"nft -f {NFTABLES_CONF}")
            assert not finds(home, SHUT_S)


UFW_FILES = "cp /usr/share/ufw/iptables/*.rules /usr/share/ufw/ufw.conf /etc/ufw/\n"
"""As its package does when it is installed."""
UFW = (
    UFW_FILES
    + """
sed -i '1i *nat\\n:POSTROUTING ACCEPT [0:0]\\n-A POSTROUTING -o eth0 -j MASQUERADE\\nCOMMIT' /etc/ufw/before.rules
ufw allow in on br-lan proto tcp to any port 22
ufw route allow in on br-lan out on eth0
ufw --force enable
"""
)


def test_ufw(namespaces: None, tmp_path: Path) -> None:
    with page("guides/ufw.md") as guide, guide_home(tmp_path, setup=UFW, unpacked=True) as home:
        closed_before(home, guide)
        assert not pinhole_arrives(home, SHUT_S)
        for _ in range(2):
            home.shell(guide.take("Let it through"))
        works(home, guide)
        assert pinhole_arrives(home)
        home.shell(guide.take("Undo"))
        assert not finds(home, SHUT_S)
        assert not pinhole_arrives(home, SHUT_S)


BUS = """
mkdir -p /run/dbus
cat >/run/dbus/system.conf <<'EOF'
<busconfig>
  <type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow send_destination="*"/><allow send_type="*"/><allow receive_type="*"/>
  </policy>
</busconfig>
EOF
"""
FIREWALLD = """
cat >/etc/firewalld/zones/external.xml <<'EOF'
<zone><interface name="eth0"/><masquerade/></zone>
EOF
cat >/etc/firewalld/zones/internal.xml <<'EOF'
<zone><interface name="br-lan"/><service name="ssh"/><service name="dhcpv6-client"/></zone>
EOF
cat >/etc/firewalld/policies/lan-out.xml <<'EOF'
<policy target="ACCEPT"><ingress-zone name="internal"/><egress-zone name="external"/></policy>
EOF
"""
FIREWALLD_SERVICES = (
    "dbus-daemon --config-file=/run/dbus/system.conf --nofork --nopidfile",
    "firewalld --nofork --nopid",
)
FIREWALLD_READY = "until firewall-cmd --state >/dev/null 2>&1; do sleep 0.1; done"


@pytest.mark.skipif(not os.environ.get("UPNP_GW_ALL_GUIDES"), reason="ten seconds more: tests/guides.sh")
def test_firewalld(namespaces: None, tmp_path: Path) -> None:
    with (
        page("guides/firewalld.md") as guide,
        guide_home(
            tmp_path,
            setup=BUS + FIREWALLD,
            services=FIREWALLD_SERVICES,
            ready=FIREWALLD_READY,
            unpacked=True,
        ) as home,
    ):
        closed_before(home, guide)
        assert not pinhole_arrives(home, SHUT_S)
        home.shell(guide.take("Let it through"))
        for_one_host = guide.take("Let it through")
        assert "address=2001:db8:1::23 " in for_one_host
        home.shell(for_one_host.replace("2001:db8:1::23", str(home.console.address6)))
        works(home, guide, pinholes=False)
        assert pinhole_arrives(home)
        home.shell(guide.take("Undo"))
        assert not finds(home, SHUT_S)
        assert not pinhole_arrives(home, SHUT_S)


DOCKER = "docker-20.10.24.rules"
DOCKERD = "dockerd --data-root /var/lib/docker"
REAL_DOCKER = """
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/docker
mount -t cgroup2 cgroup2 /sys/fs/cgroup
"""
CONTAINER = """
until docker version >/dev/null 2>&1; do sleep 0.1; done
mkdir -p /run/image/bin
cp "$(command -v busybox)" /run/image/bin/
tar --directory /run/image --create . | docker import - small >/dev/null
docker run --detach --name web --publish 8444:443 small /bin/busybox sleep 1000
"""


def installed(program: str) -> str:
    """The program itself where it is installed (tests/guides.sh); else the test is skipped."""
    if shutil.which(program, path=TOOL_PATH) is None:
        pytest.skip(f"{program} is not installed")
    return program


@contextmanager
def docker_home(directory: Path, real: bool, forward: bool = True) -> Iterator[GuideHome]:
    """A home beside Docker with a container that publishes port 8444. ``forward``: before Docker starts."""
    if not real:
        rules = (RECORDED / DOCKER).read_text("utf-8")
        if forward:
            rules = rules.replace(":FORWARD DROP", ":FORWARD ACCEPT")
        load = f"ip link add docker0 type bridge\niptables-restore --noflush <<'EOF'\n{rules}\nEOF\n"
        with guide_home(directory, setup=MASQUERADE + load) as home:
            yield home
        return
    with guide_home(
        directory,
        setup=MASQUERADE + REAL_DOCKER,
        services=(installed(DOCKERD.split()[0]) + DOCKERD.removeprefix("dockerd"),),
        ready=CONTAINER,
        forward=forward,
    ) as home:
        try:
            yield home
        finally:
            bash(home.gateway, "docker rm --force web; rmdir /sys/fs/cgroup/docker", check=False)


BOTH = pytest.mark.parametrize("real", [False, True], ids=["rules", "real"])


@BOTH
def test_docker(namespaces: None, tmp_path: Path, real: bool) -> None:
    with page("guides/docker.md") as guide, docker_home(tmp_path, real, forward=False) as home:
        home.gateway.sysctl("net/ipv4/ip_forward", "1")
        assert not goes_out(home)
        assert finds(home)
        assert shows(home.doctor(), guide.take("What happens", "text"))
        home.daemon.cli("add", "tcp", "8443", "192.168.1.23:443", "--ttl", "10m")
        assert home.shut(8443)
        with refused(718):
            home.point("pc").add(8444)  # the port of a container
        home.shell(guide.take("Let it through"))
        assert home.has("/etc/sysctl.d/60-forward.conf")
        lines = guide.take("Let it through")
        home.shell(lines)
        drop_in = guide.take("Let it through", "ini").splitlines()[1:]
        assert [line.removeprefix("ExecStartPost=") for line in drop_in] == lines.splitlines()
        works(home, guide)
        home.shell(guide.take("A bridge as the LAN"))
        home.shell(guide.take("Undo"))
        assert not goes_out(home)


@BOTH
def test_docker_where_packets_are_forwarded_already(namespaces: None, tmp_path: Path, real: bool) -> None:
    """There it does not touch the policy of chain FORWARD."""
    with docker_home(tmp_path, real) as home:
        assert finds(home)
        assert proved(home)
        assert goes_out(home)


def virtual_machine(home: GuideHome, bridge: str, address: IPv4Address) -> Host:
    """A host on a bridge of the gateway, which is host 1 there."""
    machine = home.lab.hosts["vm"] = Host("vm")
    home.gateway.ip(
        f"link add name vnet0 index {1000 + machine.descriptor} type veth peer name eth0"
        f" address 52:54:00:00:00:09 netns /proc/self/fd/{machine.descriptor}",
        f"link set vnet0 master {bridge}",
        "link set vnet0 up",
        pass_fds=(machine.descriptor,),
    )
    machine.ip(
        "link set lo up",
        f"addr add {address}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {address - int(address) % 256 + 1}",
    )
    return machine


LIBVIRTD = """
mount -t tmpfs tmpfs /var/lib
mkdir -p /run/libvirt /var/lib/libvirt/dnsmasq /etc/libvirt/hooks
printf 'unix_sock_group = "root"\\nauth_unix_rw = "none"\\nauth_unix_ro = "none"\\n' >/etc/libvirt/libvirtd.conf
getent group libvirt-qemu || echo 'libvirt-qemu:x:64055:' >>/etc/group
getent group kvm || echo 'kvm:x:64056:' >>/etc/group
getent passwd libvirt-qemu || echo 'libvirt-qemu:x:64055:64055::/:/bin/false' >>/etc/passwd
"""
NETWORK = """
export LIBVIRT_DEFAULT_URI=network:///system
until virsh net-list >/dev/null 2>&1; do sleep 0.1; done
virsh net-info default >/dev/null 2>&1 || virsh net-define /usr/share/libvirt/networks/default.xml
virsh net-start default
"""
BRIDGE = "ip link add virbr0 type bridge\nip addr add 192.168.122.1/24 dev virbr0\nip link set virbr0 up\n"


@BOTH
def test_libvirt(namespaces: None, tmp_path: Path, real: bool) -> None:
    setup = LIBVIRTD if real else BRIDGE + loaded("libvirt-9.0.0.rules")
    services = (installed("libvirtd"),) if real else ()
    with (
        page("guides/libvirt.md") as guide,
        guide_home(tmp_path, setup=MASQUERADE + setup, services=services, ready=NETWORK if real else "") as home,
    ):
        machine = virtual_machine(home, "virbr0", IPv4Address("192.168.122.50"))
        assert finds(home)
        assert proved(home), "the LAN is as before"
        home.gateway.run(["tee", "/etc/upnp-gw/config.toml"], text=guide.take("Serve virbr0, too", "toml"))
        home.shell(guide.take("Serve virbr0, too"))
        assert until(lambda: "8080 tcp via" in bash(machine, "upnp-gw request tcp 8080", check=False).stdout)
        own_table = "libvirt_network" in home.gateway.run(["nft", "list", "tables"]).stdout
        with EchoServer(machine, TCP, 8080):
            assert home.shut(8080)
            quoted = guide.take("What happens", "text")
            if own_table:
                assert "`ip libvirt_network forward`" in guide.text
                quoted = quoted.replace("ip filter FORWARD", "ip libvirt_network forward")
            assert shows(home.doctor(), quoted)
            hook = guide.take("Let it through", "hook")
            if own_table:
                (other,) = re.findall(r"`(nft insert rule ip libvirt_network [^`]*)`", guide.text)
                hook = re.sub(r"iptables .*", other, hook)
            *_, restarted = guide.take("Let it through").splitlines()
            assert restarted == "virsh net-start default"
            bash(home.gateway, f"cat >/run/hook <<'EOF'\n{hook}\nEOF\nsh -e /run/hook default started")
            assert home.reach(8080).answered_by == "vm"
        output = home.shell(guide.take("See that it works"), check=False)
        assert shows(output, guide.take("See that it works", "text"))
        if real:
            bash(home.gateway, "virsh --connect network:///system net-destroy default")


def proxmox(more: str = "") -> str:
    """Its rules, with these in the chain of the host."""
    rules = (RECORDED / "proxmox.rules").read_text("utf-8")
    whole = rules.replace(
        "-A PVEFW-HOST-IN -j PVEFW-DropBroadcast", f"{more}-A PVEFW-HOST-IN -j PVEFW-DropBroadcast"
    )
    return f"iptables-restore <<'EOF'\n{whole}\nEOF\n"


def test_proxmox(namespaces: None, tmp_path: Path) -> None:
    lan = replace(LAN, interface="vmbr1")
    config = CONFIG.replace("br-lan", "vmbr1")
    with (
        page("guides/proxmox.md") as guide,
        guide_home(
            tmp_path, setup=MASQUERADE + proxmox(), topology=Topology(lans=(lan,), wan="eth0"), config=config
        ) as home,
    ):
        closed_before(home, guide, "On the host itself")
        head, *rules = guide.take("On the host itself", "pve").splitlines()
        assert head == "[RULES]"
        compiled = ""
        for rule in rules:
            direction, verdict, *matches = rule.partition(" #")[0].split()
            assert (direction, verdict) == ("IN", "ACCEPT")
            compiled += f"-A PVEFW-HOST-IN {' '.join(matches).replace('-dport', '--dport')} -j RETURN\n"
        bash(home.gateway, proxmox(compiled))
        assert finds(home)
        assert proved(home)


ROUTER_CONF = "/etc/wireguard/wg0.conf"


@contextmanager
def tunnels(*hosts: Host) -> Iterator[None]:
    """At the end the interfaces are deleted, and with them their processes."""
    try:
        yield
    finally:
        for host in hosts:
            host.run(["ip", "link", "del", "wg0"], check=False)


def keys(host: Host) -> tuple[str, str]:
    """A private key and its public key."""
    private, public = bash(host, "wg genkey | tee /run/key; wg pubkey </run/key").stdout.split()
    return private, public


def up(host: Host, conf: str) -> None:
    """``wg-quick up wg0``: where the kernel has no WireGuard it takes wireguard-go."""
    bash(host, f"umask 077\nmkdir -p /etc/wireguard\ncat >{ROUTER_CONF} <<'EOF'\n{conf}\nEOF\nwg-quick up wg0")


def conf(private: str, address: str, public: str, allowed: str, more: str = "", endpoint: str = "") -> str:
    peer = f"[Peer]\nPublicKey = {public}\nAllowedIPs = {allowed}\n{endpoint and f'Endpoint = {endpoint}'}\n"
    return f"[Interface]\nPrivateKey = {private}\nAddress = {address}\n{more}\n{peer}"


def test_wireguard_from_outside(namespaces: None, tmp_path: Path) -> None:
    with page("guides/wireguard.md", "Devices of the VPN ask for ports") as guide, ExitStack() as stack:
        home = stack.enter_context(guide_home(tmp_path, setup=MASQUERADE, unpacked=True))
        phone, router = home.lab.hosts["peer2"], home.gateway
        own_files(phone, tmp_path / "phone", unpacked=True)
        stack.enter_context(tunnels(phone, router))
        (key, public), (phone_key, phone_public) = keys(router), keys(phone)
        up(router, conf(key, "10.8.0.1/24", phone_public, "10.8.0.2/32", "ListenPort = 51820"))
        up(phone, conf(phone_key, "10.8.0.2/24", public, "0.0.0.0/0", endpoint=f"{home.external}:51820"))
        with refused(718):
            home.point().add(51820, UDP)
        home.gateway.run(
            ["tee", "/etc/upnp-gw/config.toml"], text=guide.take("Devices of the VPN ask for ports", "toml")
        )
        home.shell("systemctl restart upnp-gw")
        asked = guide.take("Devices of the VPN ask for ports")
        assert until(lambda: f"{home.external}:8080 tcp" in bash(phone, asked, check=False).stdout)
        with EchoServer(phone, TCP, 8080):
            assert home.reach(8080).answered_by == "peer2"


def test_wireguard_as_the_wan(namespaces: None, tmp_path: Path) -> None:
    heading = "The internet comes through a tunnel"
    with page("guides/wireguard.md", heading, "Undo") as guide, ExitStack() as stack:
        home = stack.enter_context(guide_home(tmp_path, setup=MASQUERADE, unpacked=True))
        server, router, friend = home.peer, home.gateway, home.lab.hosts["peer2"]
        own_files(server, tmp_path / "server", unpacked=True)
        stack.enter_context(tunnels(server, router))
        (key, public), (server_key, server_public) = keys(router), keys(server)
        up(server, conf(server_key, "10.8.0.1/24", public, "10.8.0.0/24", "ListenPort = 51820"))
        written = guide.take(heading, "ini")
        for placeholder, value in (
            ("ROUTER-PRIVATE-KEY", key),
            ("SERVER-PUBLIC-KEY", server_public),
            (SERVER, str(server.address)),
        ):
            assert placeholder in written
            written = written.replace(placeholder, value)
        up(router, written)
        settings = guide.take(heading, "toml").replace(SERVER, str(server.address))
        home.gateway.run(["tee", "/etc/upnp-gw/config.toml"], text=settings)
        home.shell("systemctl restart upnp-gw")
        home.shell(guide.take(heading), host=server)
        assert shows(home.doctor(), guide.take(heading, "text").replace(SERVER, str(server.address)))
        home.point().add(8080)
        with EchoServer(home.console, TCP, 8080):
            proof = reach(friend, TCP, server.address, 8080, timeout=REACHED_S)
        assert (proof.answered_by, proof.seen_from) == ("console", friend.address)
        home.gateway.run(["tee", "/etc/upnp-gw/config.toml"], text=CONFIG)
        home.shell("systemctl restart upnp-gw")
        with EchoServer(home.console, TCP, 8080):
            assert home.shut(8080), "the answers leave through the tunnel"
            home.shell(guide.take("Undo"))
            assert home.reach(8080)
