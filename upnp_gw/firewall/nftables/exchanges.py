"""Evidence that a LAN host answered through a mapping, kept by the kernel from the first answer of each flow.

Connection tracking is read once a minute and forgets a UDP exchange after 30 s, and its events overflow under a
flood. So the first answer of a flow (UDP), or the first after the handshake (TCP), puts the internal endpoint into
a set, and the endpoint with the remote host into another one. A label marks the flow: its later packets cost one
look at the label. What nobody answers is in neither: a scan fills nothing.

Both are bounded. Endpoints are those of mappings; where the set of remote hosts is full, the endpoint alone is
known.
"""

from collections.abc import Mapping

from upnp_gw.firewall.labels import ANSWERED

KEPT_S = 150
"""How long an exchange is remembered after its first answer, seconds: two readings of a minute, and some delay."""
REMOTES_SIZE = 4096
"""Pairs of an endpoint and a remote host in ``KEPT_S``, for each address family."""
LET_THROUGH = "let_through"
"""The chain that accepts what a mapping lets in: what carries a flow goes there."""
FAMILIES = (("", "ip", "ipv4_addr", 4), ("6", "ip6", "ipv6_addr", 16))
"""Suffix of the sets, header, type and bytes of an address."""


def sets(size: int) -> list[str]:
    """The declarations. ``size``: how many endpoints there can be at a time."""
    lines = []
    for suffix, _, address, _ in FAMILIES:
        endpoint = f"inet_proto . {address} . inet_service"
        bounds = f"flags dynamic,timeout; timeout {KEPT_S}s"
        lines.append(f"set answered{suffix} {{ type {endpoint}; {bounds}; size {size}; }}")
        lines.append(f"set remotes{suffix} {{ type {endpoint} . {address}; {bounds}; size {REMOTES_SIZE}; }}")
    return lines


def chains() -> tuple[str, ...]:
    """In an order in which each is declared before it is named."""
    return "remember_exchange", "first_answer", LET_THROUGH


def rules() -> Mapping[str, list[str]]:
    """Chain -> rules."""
    remember = [f"ct label set {ANSWERED}"]
    for suffix, header, _, _ in FAMILIES:
        for number in (6, 17):
            endpoint = f"meta l4proto . {header} saddr . th sport"
            remember += [
                f"meta l4proto {number} update @answered{suffix} {{ {endpoint} }}",
                f"meta l4proto {number} update @remotes{suffix} {{ {endpoint} . {header} daddr }}",
            ]
    return {
        LET_THROUGH: [f"ct direction reply ct label ! {ANSWERED} jump first_answer", "accept"],
        # a reset is an answer too, and no use
        "first_answer": ["meta l4proto 17 goto remember_exchange", "ct status assured goto remember_exchange"],
        "remember_exchange": remember,
    }
