"""The check of forwarding, and the commands that switch it on without opening more than that. Pure."""

from collections.abc import Iterator

from upnp_gw.api import Check
from upnp_gw.doctor import guides
from upnp_gw.doctor.findings import fail, ok, warn
from upnp_gw.doctor.machine_state import MachineState
from upnp_gw.firewall.base import FirewallMode

NAME = "forwarding"
IPV4, IPV6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"


def forwarding(machine: MachineState) -> Iterator[Check]:
    """The kernel forwards packets. In router mode the daemon switches that on, once its table is installed."""
    if machine.config.backend == "memory":
        yield ok(NAME, "not needed: the memory backend opens nothing")
        return
    yield _forwarded(machine, 4, machine.forwarding4, IPV4)
    yield _forwarded(machine, 6, machine.forwarding6, IPV6)


def _forwarded(machine: MachineState, version: int, state: bool | None, key: str) -> Check:
    router = machine.config.firewall is FirewallMode.ROUTER
    command = f"sysctl -w {key}=1"
    if state is None:
        return warn(NAME, f"cannot read whether IPv{version} is forwarded", f"sysctl {key}")
    if state:
        return ok(NAME, f"IPv{version} is forwarded")
    if router and machine.daemon_pid is None:
        return ok(NAME, f"IPv{version} is not forwarded yet: router mode switches it on at the start")
    if router:
        return fail(
            NAME,
            f"IPv{version} is not forwarded: another program switched it off after router mode started",
            f"find that program (sysctl.d, a network manager), then: {command}",
            [command],
        )
    if version == 4:
        caution = "hosts without NAT need a filter first, see below" if machine.missing else None
        return fail(
            NAME,
            "IPv4 is not forwarded: no mapping can work",
            command,
            [command],
            guide=guides.NOTHING_ARRIVES,
            caution=caution,
        )
    return _alongside6(machine, command)


def _alongside6(machine: MachineState, command: str) -> Check:
    """Beside another firewall: that one has to filter before the kernel forwards."""
    finding, wan = "IPv6 is not forwarded: no pinhole can work", machine.config.wan
    if not machine.filters_ipv6:
        advice = f"first filter IPv6 connections from {wan}, or all ports of all hosts are open; then: {command}"
        return warn(NAME, finding, advice)
    commands = [command]
    if machine.wan_takes_adverts:  # with slashes: a dot may be part of the interface's name
        commands.insert(0, f"sysctl -w net/ipv6/conf/{wan}/accept_ra=2")
    return warn(NAME, finding, " && ".join(commands), commands)
