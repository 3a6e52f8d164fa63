"""Fills connection tracking of a gateway with connections of others, as a busy router has them."""

from tests.bench.gateways import Gateway
from upnp_gw.lab import HOME, Host

LOAD_S = 120.0


def _entries(count: int) -> str:
    """Connections of LAN hosts to the internet that nobody translates, in the form that conntrack(8) reads."""
    lines = []
    for number in range(count):
        inside = HOME.network[100 + number % 150]
        outside = f"198.{18 + number % 2}.{number // 200 % 250}.{number % 200 + 1}"
        port = 1024 + number % 60_000
        lines.append(
            f"-A -s {inside} -d {outside} -r {outside} -q {inside} -p tcp --sport {port} --dport 443"
            f" --reply-port-src 443 --reply-port-dst {port} -t 86400 --state ESTABLISHED\n"
        )
    return "".join(lines)


def count(host: Host) -> int:
    """Entries of connection tracking in the namespace of a host."""
    return int(host.sysctl("net/netfilter/nf_conntrack_count"))


def fill(gateways: list[Gateway], entries: int) -> None:
    """Adds so many entries to each gateway. Raises RuntimeError where the kernel does not take them."""
    script = _entries(entries)
    for host in {gateway.lab.gateway for gateway in gateways}:
        host.run(["conntrack", "-R", "-"], text=script, timeout=LOAD_S, check=False)
        if count(host) < entries:
            raise RuntimeError(
                f"connection tracking of the gateway has {count(host)} entries, not {entries}: "
                "is net.netfilter.nf_conntrack_max large enough?"
            )


def clear(gateways: list[Gateway]) -> None:
    for host in {gateway.lab.gateway for gateway in gateways}:
        host.run(["conntrack", "-F"], timeout=LOAD_S)
