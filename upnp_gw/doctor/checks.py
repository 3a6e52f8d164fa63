"""The checks: from the state of the machine to findings and remedies. Pure."""

from collections.abc import Callable, Iterator, Sequence

from upnp_gw.api import Check
from upnp_gw.doctor import guides
from upnp_gw.doctor.answers import answers
from upnp_gw.doctor.findings import fail, ok, warn
from upnp_gw.doctor.forwarding import forwarding
from upnp_gw.doctor.kernel import kernel
from upnp_gw.doctor.leftovers import leftovers
from upnp_gw.doctor.machine_state import DAEMON, MachineState, PortHolder
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.libnftables import describe_library
from upnp_gw.model.mapping import Transport
from upnp_gw.model.public_addresses import private_external
from upnp_gw.text.escape import shown

SSDP_PORT = 1900
PCP_PORT = 5351
NEED_BRIDGE_FILTER = "Kubernetes, and Docker with icc = false, need it to be 1"
LOOPBACK = "lo"
"""It has no MULTICAST flag, but delivers multicast to programs of this machine."""


def interfaces(machine: MachineState) -> Iterator[Check]:
    """Every interface exists and is up, and a LAN interface has an IPv4 address."""
    for role, name in (("WAN", machine.config.wan), *(("LAN", name) for name in machine.config.lan)):
        link = machine.link(name)
        missing = link is None or link.index == 0
        if missing and role == "WAN" and machine.config.backend == "memory":
            yield ok("interface", f"WAN {name} is emulated by the memory backend: no interface is needed")
        elif link is None or missing:
            yield fail(
                "interface", f"{role} {name} does not exist", f"bring {name} up, or choose another: ip -br link"
            )
        elif not link.up:
            command = f"ip link set {name} up"
            yield warn("interface", f"{role} {name} is down", f"{command}, and check the cable", [command])
        elif role == "LAN" and not link.ipv4:
            yield fail("interface", f"LAN {name} has no IPv4 address", f"give {name} a static address")
        else:
            shown_addresses = ", ".join(str(address) for address in link.addresses) or "no address"
            yield ok("interface", f"{role} {name} is up: {shown_addresses}")


def overlap(machine: MachineState) -> Iterator[Check]:
    """LAN and WAN are different networks (SR-4)."""
    if machine.overlap is not None:
        yield fail("lan and wan", shown(machine.overlap, 300), "choose interfaces and prefixes that do not overlap")
    else:
        yield ok("lan and wan", "they do not overlap")


def external_address(machine: MachineState) -> Iterator[Check]:
    """The internet can reach the external address. Without NAT there is none: each host has its own."""
    yield from _own_addresses(machine)
    if machine.config.without_nat.issuperset(machine.config.lan):
        return
    link = machine.link(machine.config.wan)
    addresses = machine.config.external_addresses or (link.ipv4 if link else ())
    for address in machine.config.external_addresses:
        if link is not None and link.up and address not in link.ipv4:
            yield warn(
                "external address",
                f"{address} of [wan] addresses is not on {machine.config.wan}: mappings work only if the provider"
                " routes it to this machine, and mapped hosts send from it",
                f'if another router has it: [wan] advertise = "{address}", and remove addresses',
            )
    if machine.config.advertise is not None and addresses:
        yield ok(
            "external address",
            f"advertised to clients: {machine.config.advertise}; the kernel translates {addresses[0]}",
        )
        addresses = (machine.config.advertise,)
    if not addresses:
        yield fail(
            "external address",
            f"the WAN {machine.config.wan} has no IPv4 address",
            "wait for DHCP or PPP, or see its log",
        )
    for address in addresses:
        why = private_external(address)
        if why is None:
            yield ok("external address", f"{address} is public")
        elif machine.config.upstream_when != "never":
            yield ok("external address", f"{address} is {why}: the gateway above is asked for each mapping")
        else:
            yield warn(
                "external address",
                f"{address} is {why}: the internet does not reach it",
                "another router or the provider translates too: have that router asked for each mapping, with "
                'when = "private" in [upstream] of the configuration, put it into bridge mode, forward ports on '
                "it, or ask the provider for a public address",
                guide=guides.DOUBLE_NAT,
            )


def _own_addresses(machine: MachineState) -> Iterator[Check]:
    """The addresses that hosts without NAT have outside."""
    for link in (link for link in machine.links if link.name in machine.config.without_nat):
        ipv4 = [net for net in link.networks if net.version == 4]
        private = [f", and {net} is {why}" for net in ipv4 if (why := private_external(net.network_address))]
        limit = f"{''.join(private)}: only networks with a route to it reach its hosts"
        outside = limit if private else ": its hosts have their own addresses outside"
        yield ok("external address", f"LAN {link.name} has no NAT{outside}")


def library(machine: MachineState) -> Iterator[Check]:
    """libnftables works."""
    if machine.config.backend == "memory":
        yield warn("nftables", "the memory backend opens nothing", '[firewall] backend = "nftables"')
    elif machine.library_problem is not None:
        yield fail(
            "nftables", shown(machine.library_problem, 200), "as root: apt install libnftables1, and run as root"
        )
    else:
        yield ok("nftables", f"libnftables works, through {describe_library()}")


def other_tables(machine: MachineState) -> Iterator[Check]:
    """No other table drops mapped traffic or packets of LAN hosts to us: our accept does not overrule its drop."""
    if machine.drops_problem is not None:
        yield warn(
            "other tables", f"cannot read the ruleset: {shown(machine.drops_problem, 200)}", "run it as root"
        )
    for drop in machine.drops:
        lines = shown(" && ".join(drop.lines), 900)
        remedy = (
            lines
            if drop.lasting
            else f"before the drop, and in the permanent configuration of that firewall: {lines}"
        )
        finding = f"chain {shown(drop.chain)} ({shown(drop.why)}) drops {shown(drop.traffic, 200)}"
        guide = guides.OF_PROGRAM[drop.program]
        if drop.certain:
            yield fail("other tables", finding, remedy, drop.lines, drop.lasting, guide)
        else:
            unless = f"{finding}, unless an iptables rule accepts it"
            yield warn("other tables", unless, remedy, drop.lines, drop.lasting, guide)
    if not machine.drops and machine.drops_problem is None:
        yield ok("other tables", "no other table drops mapped traffic, or packets of LAN hosts to the gateway")


def hosts_without_nat(machine: MachineState) -> Iterator[Check]:
    """A firewall filters what reaches hosts without NAT, and none translates their addresses."""
    for one in machine.missing:
        lasting = one.lines[-1].startswith("firewall-cmd ")
        remedy = shown(" && ".join(one.lines), 900)
        yield warn("hosts without NAT", shown(one.finding, 300), remedy, one.lines, lasting, guides.WITHOUT_NAT)
    if machine.config.without_nat and not machine.missing and machine.drops_problem is None:
        yield ok("hosts without NAT", "a firewall filters what reaches them, and none translates their addresses")


def router_mode(machine: MachineState) -> Iterator[Check]:
    """Router mode has its own masquerade and filters, and does not start beside another forward filter."""
    if machine.config.firewall is not FirewallMode.ROUTER or machine.config.backend == "memory":
        return
    if machine.forward_filters and not machine.config.allow_other_forward:
        yield fail(
            "router mode",
            f"it does not start: {shown(', '.join(machine.forward_filters), 300)} of another firewall filters"
            " forwarded packets",
            "remove that firewall, use --firewall alongside, or allow both: [firewall] allow_other_forward = true",
            guide=guides.BESIDE,
        )
    elif machine.library_problem is None and machine.drops_problem is None:
        translates = not machine.config.without_nat.issuperset(machine.config.lan)
        yield ok(
            "router mode",
            ("masquerade and filters " if translates else "filters ")
            + ("are installed by upnp-gw" if machine.daemon_pid else "are installed by upnp-gw at the start"),
        )


def flow_offload(machine: MachineState) -> Iterator[Check]:
    """No flowtable takes established flows of mappings past our table."""
    for offload in machine.offloads:
        yield warn(
            "flow offload",
            f"chain {shown(offload.chain)} lets established flows bypass all forward chains"
            f" ({shown(offload.description)}): mappings count too few bytes, and if upnp-gw is dead, a flow without"
            " pauses outlives its lease",
            f"to exempt mapped flows, before its rule: {shown(offload.line, 300)}",
            [offload.line],
        )
    if not machine.offloads and machine.drops_problem is None:
        yield ok("flow offload", "no other table lets flows bypass the forward chains")


def multicast(machine: MachineState) -> Iterator[Check]:
    """Searches arrive: the interface receives multicast. A bridge that snoops passes it where no querier is."""
    for name, enabled in machine.multicast.items():
        if name == LOOPBACK:
            yield ok("multicast", f"{name} delivers multicast to programs of this machine")
        elif not enabled:
            yield fail(
                "multicast",
                f"{name} receives no multicast: no control point finds the gateway",
                f"ip link set {name} multicast on",
                [f"ip link set {name} multicast on"],
                guide=guides.NOTHING_FINDS,
            )
        else:
            yield ok("multicast", f"{name} receives multicast")


def bridge_filters(machine: MachineState) -> Iterator[Check]:
    """Hosts on a bridge can reach mapped ports by the external address (hairpin).

    With br_netfilter, which Docker loads, the bridge translates the frame without masquerade, and the kernel does
    not send a frame back out of the bridge port that it came in on.
    """
    for name, command in machine.bridge_filters.items():
        yield warn(
            "bridge",
            f"frames of bridge {name} pass the IP firewall (br_netfilter): hosts on it cannot reach mapped ports by"
            " the external address (hairpin). The internet can",
            f"{command}   (and in /etc/sysctl.d; {NEED_BRIDGE_FILTER})",
            [command],
            guide=guides.DOCKER,
            caution=NEED_BRIDGE_FILTER,
        )


def other_gateways(machine: MachineState) -> Iterator[Check]:
    """No other UPnP gateway is on the LAN: clients use whichever answers first."""
    for other in machine.gateways:
        server = f" ({shown(other.server)})" if other.server else ""
        yield warn(
            "other gateways",
            f"{other.address} on {other.interface} is another UPnP gateway{server}",
            f"switch UPnP off on it; its description: {shown(other.location, 120)}",
            guide=guides.NOTHING_FINDS,
        )
    if not machine.gateways:
        yield ok("other gateways", "no other UPnP gateway answers on the LAN")


def ports(machine: MachineState) -> Iterator[Check]:
    """No other process has our ports. UDP port 1900 is shared by all SSDP programs of a machine."""
    own = {(h.transport, h.port) for h in machine.holders if h.pid is not None and h.pid == machine.daemon_pid}
    others = [holder for holder in machine.holders if holder.pid is None or holder.pid != machine.daemon_pid]
    daemons = {
        holder.pid: [h for h in others if h.pid == holder.pid] for holder in others if holder.process == DAEMON
    }
    for pid, held in daemons.items():
        places = [f"{holder.transport}/{holder.port}" for holder in held]
        yield warn(
            "ports",
            f"{_format_ports(places)} served by another upnp-gw (pid {pid})",
            f"stop pid {pid}, or ask it: upnp-gw doctor --runtime-dir DIR",
        )
    for holder in others:
        if holder.process != DAEMON:
            yield _foreign_holder(holder)
    if own:
        served = [f"{transport}/{port}" for transport, port in machine.served if (transport, port) in own]
        yield ok("ports", f"{_format_ports(served)} served by upnp-gw (pid {machine.daemon_pid})")
    used = own | {(holder.transport, holder.port) for holder in others}
    if free := [f"{transport}/{port}" for transport, port in machine.served if (transport, port) not in used]:
        yield ok("ports", f"{_format_ports(free)} free")


def _foreign_holder(holder: PortHolder) -> Check:
    """A finding about a port that another process has."""
    where = f"{holder.transport}/{holder.port} on {shown(holder.address)}"
    owner = shown(holder.process) if holder.process else "another process"
    if holder.pid is not None:
        owner += f" (pid {holder.pid})"
    if (holder.transport, holder.port) == (Transport.UDP, SSDP_PORT):
        return warn(
            "ports",
            f"{owner} also listens on {where}: a unicast search reaches only one",
            f"stop {owner} if it is a UPnP gateway",
        )
    if holder.port == PCP_PORT:
        return warn(
            "ports",
            f"{owner} has {where}: NAT-PMP and PCP do not work",
            "stop it: a machine can have only one gateway",
        )
    return fail("ports", f"{owner} has {where}", "stop it, or choose another: --http-port N")


def _format_ports(ports: Sequence[str]) -> str:
    """``udp/1900, udp/5351 and tcp/5000 are``."""
    *first, last = ports
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"


def state_directory(machine: MachineState) -> Iterator[Check]:
    """The state directory can be written: mappings survive a restart."""
    where = shown(str(machine.config.state_dir), 200)
    if machine.state_problem is None:
        yield ok("state", f"{where} can be written")
    else:
        yield fail(
            "state",
            f"{where}: {machine.state_problem}",
            "create it for the user of the daemon, or choose another: --state-dir DIR",
        )


CHECKS: tuple[Callable[[MachineState], Iterator[Check]], ...] = (
    interfaces,
    overlap,
    external_address,
    forwarding,
    library,
    other_tables,
    hosts_without_nat,
    router_mode,
    flow_offload,
    leftovers,
    kernel,
    answers,
    multicast,
    bridge_filters,
    other_gateways,
    ports,
    state_directory,
)


def judge(machine: MachineState) -> list[Check]:
    """All findings, in a fixed order."""
    return [finding for check in CHECKS for finding in check(machine)]
