"""The checks: what could be wrong on this machine, and what to do. Pure."""

from collections.abc import Callable, Iterator, Sequence

from upnp_gw.api import Check
from upnp_gw.doctor.machine_state import DAEMON, MachineState, PortHolder
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.libnftables import describe_library
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import private_external
from upnp_gw.text.escape import shown

SSDP_PORT = 1900
PCP_PORT = 5351
LOOPBACK = "lo"
"""Delivers multicast to the programs of this machine although it does not have the flag."""


def ok(name: str, finding: str) -> Check:
    return Check(name=name, outcome="ok", finding=finding)


def warn(name: str, finding: str, remedy: str | None = None) -> Check:
    return Check(name=name, outcome="warn", finding=finding, remedy=remedy)


def fail(name: str, finding: str, remedy: str | None = None) -> Check:
    return Check(name=name, outcome="fail", finding=finding, remedy=remedy)


def interfaces(scene: MachineState) -> Iterator[Check]:
    """Every interface is there, up, and a LAN has an address to answer from."""
    for role, name in (("WAN", scene.config.wan), *(("LAN", name) for name in scene.config.lan)):
        link = scene.link(name)
        missing = link is None or link.index == 0
        if missing and role == "WAN" and scene.config.backend == "memory":
            yield ok("interface", f"WAN {name} is emulated by the memory backend: no interface is needed")
        elif link is None or missing:
            yield fail(
                "interface", f"{role} {name} is not there", f"bring {name} up, or choose another: ip -br link"
            )
        elif not link.up:
            yield warn("interface", f"{role} {name} is down", f"ip link set {name} up, and look at the cable")
        elif role == "LAN" and not link.ipv4:
            yield fail(
                "interface", f"LAN {name} has no IPv4 address to serve from", f"give {name} a static address"
            )
        else:
            shown_addresses = ", ".join(str(address) for address in link.addresses) or "no address"
            yield ok("interface", f"{role} {name} is up: {shown_addresses}")


def overlap(scene: MachineState) -> Iterator[Check]:
    """LAN and WAN are different networks (SR-4)."""
    if scene.overlap is not None:
        yield fail("lan and wan", shown(scene.overlap, 300), "choose interfaces and prefixes that do not overlap")
    else:
        yield ok("lan and wan", "they do not overlap")


def external_address(scene: MachineState) -> Iterator[Check]:
    """The internet reaches the external address."""
    link = scene.link(scene.config.wan)
    addresses = scene.config.external_addresses or (link.ipv4 if link else ())
    for address in scene.config.external_addresses:
        if link is not None and link.up and address not in link.ipv4:
            yield warn(
                "external address",
                f"{address} of [wan] addresses is not on {scene.config.wan}: mappings are reached only where the"
                " provider routes it to this machine, and mapped hosts send from it",
                f'behind another router that has it: [wan] advertise = "{address}", and no addresses',
            )
    if scene.config.advertise is not None and addresses:
        yield ok(
            "external address", f"clients are told {scene.config.advertise}; the kernel translates {addresses[0]}"
        )
        addresses = (scene.config.advertise,)
    if not addresses:
        yield fail(
            "external address",
            f"the WAN {scene.config.wan} has no IPv4 address",
            "wait for DHCP or PPP; see its log",
        )
    for address in addresses:
        why = private_external(address)
        if why is None:
            yield ok("external address", f"{address} is public")
        else:
            yield warn(
                "external address",
                f"{address} is {why}: the internet does not reach it",
                "another router or the provider translates before this one: put that router into bridge mode, "
                "forward ports there, or ask the provider for a public address",
            )


def forwarding(scene: MachineState) -> Iterator[Check]:
    """The kernel forwards. In router mode the daemon itself switches it on, once its table stands."""
    if scene.config.backend == "memory":
        yield ok("forwarding", "not needed: the memory backend opens nothing")
        return
    router = scene.config.firewall is FirewallMode.ROUTER
    for version, state, key in (
        (4, scene.forwarding4, "net.ipv4.ip_forward"),
        (6, scene.forwarding6, "net.ipv6.conf.all.forwarding"),
    ):
        name = "forwarding"
        if state is None:
            yield warn(name, f"cannot tell whether IPv{version} is forwarded", f"sysctl {key}")
        elif state:
            yield ok(name, f"IPv{version} is forwarded")
        elif router and scene.daemon_pid is None:
            yield ok(name, f"IPv{version} is not forwarded yet: router mode switches it on at its start")
        elif router:
            yield fail(
                name,
                f"IPv{version} is not forwarded: another program has switched it off since router mode started",
                f"find that program (sysctl.d, a network manager), then: sysctl -w {key}=1",
            )
        elif version == 4:
            yield fail(name, "IPv4 is not forwarded: no mapping can work", f"sysctl -w {key}=1")
        else:
            yield warn(name, "IPv6 is not forwarded: no pinhole can work", f"sysctl -w {key}=1")


def library(scene: MachineState) -> Iterator[Check]:
    """libnftables can be used."""
    if scene.config.backend == "memory":
        yield warn("nftables", "the memory backend is chosen: nothing is opened", '[firewall] backend = "nftables"')
    elif scene.library_problem is not None:
        yield fail(
            "nftables", shown(scene.library_problem, 200), "as root: apt install libnftables1, and run as root"
        )
    else:
        yield ok("nftables", f"libnftables answers, through {describe_library()}")


def other_tables(scene: MachineState) -> Iterator[Check]:
    """No other table drops what we let in, or what LAN hosts send to us: an accept of ours does not overrule it."""
    if scene.drops_problem is not None:
        yield warn(
            "other tables", f"the ruleset cannot be read: {shown(scene.drops_problem, 200)}", "run it as root"
        )
    for drop in scene.drops:
        lines = shown(" && ".join(drop.lines), 900)
        remedy = lines if drop.lasting else f"before its drop, and in its permanent configuration: {lines}"
        finding = f"chain {shown(drop.chain)} ({shown(drop.why)}) drops {shown(drop.what, 200)}"
        if drop.certain:
            yield fail("other tables", finding, remedy)
        else:
            yield warn("other tables", f"{finding}, unless an iptables rule accepts it", remedy)
    if not scene.drops and scene.drops_problem is None:
        yield ok("other tables", "none drops mapped traffic, or what LAN hosts send to the gateway")


def router_mode(scene: MachineState) -> Iterator[Check]:
    """Router mode brings its own masquerade and filters, and does not start beside other filters of its kind."""
    if scene.config.firewall is not FirewallMode.ROUTER or scene.config.backend == "memory":
        return
    own = "masquerade, and the filters of forward and input"
    if scene.forward_filters and not scene.config.allow_other_forward:
        yield fail(
            "router mode",
            f"does not start: {shown(', '.join(scene.forward_filters), 300)} of another firewall filters what is"
            " forwarded",
            "remove that firewall, or choose alongside mode: --firewall alongside; to have both: [firewall]"
            " allow_other_forward = true",
        )
    elif scene.library_problem is None and scene.drops_problem is None:
        yield ok("router mode", f"{own} {'are' if scene.daemon_pid else 'will be'} its own; nothing is missing")


def flow_offload(scene: MachineState) -> Iterator[Check]:
    """Every packet of a mapping's flows passes our table: a flowtable takes established flows past it."""
    for offload in scene.offloads:
        yield warn(
            "flow offload",
            f"chain {shown(offload.chain)} gives established flows to a fast path past all forward chains "
            f"({shown(offload.what)}): mappings count too few bytes, and while upnp-gw does not run, a flow that "
            "never pauses outlives its lease",
            f"to keep mapped flows out of it, before its rule: {shown(offload.line, 300)}",
        )
    if not scene.offloads and scene.drops_problem is None:
        yield ok("flow offload", "no other table takes flows past the forward chains")


def multicast(scene: MachineState) -> Iterator[Check]:
    """Searches arrive: the interface takes multicast, and a snooping bridge is asked for memberships."""
    for name, how in scene.multicast.items():
        if name == LOOPBACK:
            yield ok("multicast", f"{name} takes multicast from programs of this machine")
        elif not how.enabled:
            yield fail(
                "multicast",
                f"{name} takes no multicast: nobody finds the gateway",
                f"ip link set {name} multicast on",
            )
        elif how.snooping and not how.querier:
            yield warn(
                "multicast",
                f"bridge {name} snoops multicast and nobody may be asking for memberships: searches stop arriving "
                "after some minutes",
                f"ip link set {name} type bridge mcast_querier 1   (or mcast_snooping 0)",
            )
        else:
            yield ok("multicast", f"{name} takes multicast")


def bridge_filters(scene: MachineState) -> Iterator[Check]:
    """Hosts on a bridge reach mapped ports by the external address.

    With br_netfilter (Docker loads it) the bridge translates the frame itself and sends it on as it came, without a
    masquerade: the kernel sends no frame back by the port that it came in on.
    """
    for name, command in scene.bridge_filters.items():
        yield warn(
            "bridge",
            f"frames of bridge {name} pass the IP firewall (br_netfilter): hosts on it do not reach mapped ports "
            "by the external address (hairpin). The internet does",
            f"{command}   (and in /etc/sysctl.d; Kubernetes, and Docker with icc = false, need it to be 1)",
        )


def other_gateways(scene: MachineState) -> Iterator[Check]:
    """Nobody else on the LAN offers to be the gateway: hosts ask whichever answers first."""
    for other in scene.gateways:
        server = f" ({shown(other.server)})" if other.server else ""
        yield warn(
            "other gateways",
            f"{other.address} on {other.interface} answers as a gateway too{server}",
            f"switch UPnP off there; its description: {shown(other.location, 120)}",
        )
    if not scene.gateways:
        yield ok("other gateways", "nobody else on the LAN answers as a gateway")


def ports(scene: MachineState) -> Iterator[Check]:
    """Our ports are ours. UDP 1900 is shared on purpose by all who speak SSDP on this machine."""
    own = {(h.transport, h.port) for h in scene.holders if h.pid is not None and h.pid == scene.daemon_pid}
    others = [holder for holder in scene.holders if holder.pid is None or holder.pid != scene.daemon_pid]
    daemons = {
        holder.pid: [h for h in others if h.pid == holder.pid] for holder in others if holder.process == DAEMON
    }
    for pid, held in daemons.items():
        places = [f"{holder.transport}/{holder.port}" for holder in held]
        yield warn(
            "ports",
            f"{_format_ports(places)} served by another upnp-gw (pid {pid}), which was not asked",
            f"upnp-gw doctor --runtime-dir DIR, with the DIR of pid {pid}; or stop it",
        )
    for holder in others:
        if holder.process != DAEMON:
            yield _foreign_holder(holder)
    if own:
        served = [f"{transport}/{port}" for transport, port in scene.served if (transport, port) in own]
        yield ok("ports", f"{_format_ports(served)} served by upnp-gw (pid {scene.daemon_pid})")
    taken = own | {(holder.transport, holder.port) for holder in others}
    if free := [f"{transport}/{port}" for transport, port in scene.served if (transport, port) not in taken]:
        yield ok("ports", f"{_format_ports(free)} free")


def _foreign_holder(holder: PortHolder) -> Check:
    """A port that somebody else holds."""
    where = f"{holder.transport}/{holder.port} on {shown(holder.address)}"
    who = shown(holder.process) if holder.process else "another process"
    if holder.pid is not None:
        who += f" (pid {holder.pid})"
    if (holder.transport, holder.port) == (Transport.UDP, SSDP_PORT):
        return warn(
            "ports",
            f"{who} also listens on {where}: unicast searches reach only one",
            f"stop {who} if it is a UPnP gateway",
        )
    if holder.port == PCP_PORT:
        return warn("ports", f"{who} holds {where}: NAT-PMP and PCP", f"stop {who}: two gateways on one machine")
    return fail("ports", f"{who} holds {where}", "stop it, or choose another: --http-port N")


def _format_ports(ports: Sequence[str]) -> str:
    """``udp/1900, udp/5351 and tcp/5000 are``."""
    *first, last = ports
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"


def state_directory(scene: MachineState) -> Iterator[Check]:
    """Mappings can be kept over a restart."""
    where = shown(str(scene.config.state_dir), 200)
    if scene.state_problem is None:
        yield ok("state", f"{where} can be written")
    else:
        yield fail(
            "state", f"{where}: {scene.state_problem}", "make it, owned by the daemon's user, or --state-dir DIR"
        )


CHECKS: tuple[Callable[[MachineState], Iterator[Check]], ...] = (
    interfaces,
    overlap,
    external_address,
    forwarding,
    library,
    other_tables,
    router_mode,
    flow_offload,
    multicast,
    bridge_filters,
    other_gateways,
    ports,
    state_directory,
)


def judge(scene: MachineState) -> list[Check]:
    """Every finding, in a fixed order."""
    return [found for check in CHECKS for found in check(scene)]
