"""Reads the machine into a ``MachineState``. Changes nothing; sends one search to each LAN."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from upnp_gw.config.interface_detection import DefaultRoute, Interface, check_apart
from upnp_gw.config.interface_detection import read_interfaces as interfaces
from upnp_gw.config.settings import Config, check_links
from upnp_gw.doctor.holders import holders
from upnp_gw.doctor.machine_state import MachineState
from upnp_gw.doctor.search import other_gateways
from upnp_gw.doctor.stopped_daemon import prove_stopped
from upnp_gw.engine.judged_tables import all_drops
from upnp_gw.engine.other_tables import served_ports
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.nftables import installed_mode
from upnp_gw.firewall.openings.findings import Proof
from upnp_gw.firewall.other_tables.drops import Drop, ipv6_firewall
from upnp_gw.firewall.other_tables.leftovers import Leftover, leftovers
from upnp_gw.firewall.other_tables.listing import foreign_ruleset, forward_filters
from upnp_gw.firewall.other_tables.offload import FlowOffload, flow_offloads
from upnp_gw.firewall.other_tables.without_nat import Missing, missing_for
from upnp_gw.model.errors import ConfigError, FirewallError, GatewayError
from upnp_gw.model.mapping import Transport
from upnp_gw.system.files import FileProblem, check_directory
from upnp_gw.system.privileges import OWN_USER, find
from upnp_gw.system.rtnetlink_socket import Rtnetlink

SYSCTL = Path("/proc/sys/net")
BRIDGES = Path("/sys/class/net")
PAGE_SOCKET = "page.sock"
OUTSIDE = IPv4Address("192.0.2.1")
"""An address of documentation (RFC 5737): its route is the default route."""
SIOCGIFFLAGS, IFF_MULTICAST = 0x8913, 0x1000


Prove = Callable[[], Awaitable[Proof]]


async def read_machine(
    config: Config, daemon_pid: int | None = None, *, page: bool = False, prove: Prove | None = None
) -> MachineState:
    """The machine at this moment. Waits about 1.5 s for answers of other gateways."""
    links, routes = interfaces()
    served = [link for link in links if link.name in config.lan]
    own = frozenset(str(address) for link in links for address in link.ipv4)
    searched = asyncio.create_task(other_gateways(served, own))
    # libnftables blocks, and a context must stay in one thread
    tables = await asyncio.to_thread(_ruleset, config, served, page)
    proof, proof_problem = await _proof(config, daemon_pid, prove)
    return MachineState(
        config=config,
        links=links,
        overlap=_overlap(config, links, routes),
        forwarding4=_switch(SYSCTL / "ipv4/ip_forward"),
        forwarding6=_switch(SYSCTL / "ipv6/conf/all/forwarding"),
        wan_takes_adverts=_number(SYSCTL / "ipv6/conf" / config.wan / "accept_ra") == 1,
        **tables._asdict(),
        bridge_filters=_bridge_filters(link.name for link in served),
        multicast=_multicast(link.name for link in served),
        ways_out=_ways_out(config, links),
        served=served_ports(config),
        holders=await asyncio.to_thread(holders, served_ports(config)),
        daemon_pid=daemon_pid,
        state_problem=_state_problem(config.state_dir, _become_by_root(config.user)),
        gateways=await searched,
        proof=proof,
        proof_problem=proof_problem,
    )


async def _proof(config: Config, daemon_pid: int | None, prove: Prove | None) -> tuple[Proof | None, str | None]:
    """The comparison of the kernel with the ledger, or the reason why there is none. Neither: there is no table of
    ours to compare."""
    if config.backend == "memory" or (prove is None and daemon_pid is not None):
        return None, None
    try:
        if prove is not None:
            return await prove(), None
        if await asyncio.to_thread(installed_mode) is None:
            return None, None
        return (await asyncio.to_thread(prove_stopped, config)).proof, None
    except GatewayError as error:
        return None, str(error)


def _overlap(config: Config, links: Sequence[Interface], routes: Sequence[DefaultRoute]) -> str | None:
    """The message that LAN and WAN overlap (SR-4); None: they do not."""
    try:
        check_links(config, "", links, {route.interface for route in routes})
        check_apart(config.wan, config.lan, links)
    except ConfigError as error:
        return error.problem
    return None


class _Tables(NamedTuple):
    """The fields of a ``MachineState`` about nftables."""

    library_problem: str | None = None
    drops_problem: str | None = None
    drops: tuple[Drop, ...] = ()
    missing: tuple[Missing, ...] = ()
    offloads: tuple[FlowOffload, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    forward_filters: tuple[str, ...] = ()
    filters_ipv6: bool = True


def _ruleset(config: Config, lans: Sequence[Interface], page: bool) -> _Tables:
    try:
        session = Session()
    except FirewallError as error:
        return _Tables(library_problem=str(error))
    try:
        ruleset = foreign_ruleset(session)
    except FirewallError as error:
        return _Tables(drops_problem=str(error))
    wan, apart, router = config.wan, config.without_nat, config.firewall is FirewallMode.ROUTER
    return _Tables(
        drops=all_drops(ruleset, wan, lans, (*served_ports(config), *page_ports(config, page)), apart),
        missing=missing_for(ruleset, wan, lans, apart, router),
        offloads=tuple(flow_offloads(ruleset)),
        leftovers=tuple(leftovers(ruleset)),
        forward_filters=tuple(forward_filters(ruleset)),
        filters_ipv6=ipv6_firewall(ruleset, wan, [link.name for link in lans]).enabled,
    )


def page_ports(config: Config, wanted: bool) -> list[tuple[Transport, int]]:
    """The ports of the page on each LAN, if it runs or is wanted."""
    if not wanted and not (config.page_runtime_dir / PAGE_SOCKET).exists():
        return []
    ports = [config.page_port] if config.page_lan != "off" else []
    if not config.page_listen.address.is_loopback:
        ports.append(config.page_listen.port)
    return [(Transport.TCP, port) for port in ports]


def _switch(path: Path) -> bool | None:
    value = _number(path)
    return None if value is None else value != 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _multicast(names: Iterable[str]) -> dict[str, bool]:
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for name in names:
            with contextlib.suppress(OSError):  # it does not exist any more: the check of interfaces reports it
                answer = fcntl.ioctl(asking, SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
                found[name] = bool(struct.unpack_from("H", answer, 16)[0] & IFF_MULTICAST)
    return found


def _ways_out(config: Config, links: Sequence[Interface]) -> dict[str, str]:
    """The routes of hosts of the LANs with NAT, by a search in the kernel's tables: nothing is sent."""
    names = {link.index: link.name for link in links}
    found = {}
    with Rtnetlink() as kernel:
        for link in links:
            nets = [net for net in link.networks if net.version == 4]
            if link.name in config.lan and link.name not in config.without_nat and nets:
                out = kernel.interface_to(OUTSIDE, nets[0][-2], link.index)
                if out in names:
                    found[link.name] = names[out]
    return found


def _bridge_filters(names: Iterable[str]) -> dict[str, str]:
    everywhere = _switch(SYSCTL / "bridge/bridge-nf-call-iptables")
    found = {}
    for name in names:
        bridge = BRIDGES / name / "bridge"
        if bridge.is_dir() and everywhere:
            found[name] = "sysctl -w net.bridge.bridge-nf-call-iptables=0"
        elif _switch(bridge / "nf_call_iptables"):
            found[name] = f"ip link set {name} type bridge nf_call_iptables 0"
    return found


def _become_by_root(user: str) -> frozenset[int]:
    """The id of the user that the daemon becomes when root starts it, as set; empty: none, or we are not root."""
    if os.geteuid():
        return frozenset()
    account = find(user or OWN_USER, "", Path("/proc/self/uid_map").read_text("ascii"))
    return frozenset() if account is None else frozenset({account.uid})


def _state_problem(directory: Path, owners: Container[int] = ()) -> str | None:
    """Tries to write: modes, mounts and quotas say too little. If it does not exist, tries the nearest parent.

    ``owners``: ids of users that it may belong to, besides root and ours.
    """
    exists = directory.exists()
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        if exists:
            check_directory(directory, owners)
        with tempfile.TemporaryFile(dir=directory):
            return None
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    except FileProblem as error:
        return error.problem
