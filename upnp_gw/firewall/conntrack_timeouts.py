"""After how long a silence the kernel's connection tracking forgets a flow that a LAN host opened."""

from pathlib import Path

from upnp_gw.model.mapping import Transport

SYSCTL = Path("/proc/sys/net/netfilter")
TIMEOUTS = {
    Transport.TCP: ("nf_conntrack_tcp_timeout_established", 432_000),
    Transport.UDP: ("nf_conntrack_udp_timeout", 30),
}
"""The kernel's setting, and its default where it cannot be read. Of UDP's two the shorter: who relies on it must
not be late."""


def idle_timeout_s(transport: Transport, sysctl: Path = SYSCTL) -> int:
    """Seconds."""
    name, default = TIMEOUTS[transport]
    try:
        return int((sysctl / name).read_text("ascii"))
    except (OSError, ValueError):
        return default
