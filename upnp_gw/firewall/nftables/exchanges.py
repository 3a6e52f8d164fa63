"""Evidence that a LAN host answered through a mapping, kept by the kernel from the first answer of each flow.

Connection tracking is read once a minute and forgets a UDP exchange after 30 s, and its events overflow under a
flood. So the first answer of a flow (UDP), or the first after the handshake (TCP), puts the internal endpoint with
the remote host into a set. A label marks the flow, so its later packets cost one check of the label. Unanswered
packets add nothing, so a scan cannot fill the set.

The set is bounded. If it is full, only the endpoint is put into another set, which has room for those of all
mappings.
"""

from collections.abc import Mapping

from upnp_gw.firewall.labels import ANSWERED

KEPT_S = 150
"""Seconds that an exchange is remembered after its first answer: two readings, a minute apart, and some delay."""
REMOTES_SIZE = 4096
"""The most pairs of endpoint and remote host within ``KEPT_S``, for each address family."""
LET_THROUGH = "let_through"
"""The chain that accepts packets of mappings and pinholes. Every match of a carrying set goes there."""
FAMILIES = (("", "ip", "ipv4_addr", 4), ("6", "ip6", "ipv6_addr", 16))
"""Suffix of the sets; header, type and length in bytes of an address."""


def exchange_sets(size: int) -> list[str]:
    """The declarations of the sets. ``size``: the most endpoints at a time."""
    lines = []
    for suffix, _, address, _ in FAMILIES:
        endpoint = f"inet_proto . {address} . inet_service"
        bounds = f"flags dynamic,timeout; timeout {KEPT_S}s"
        lines.append(f"set answered{suffix} {{ type {endpoint}; {bounds}; size {size}; }}")
        lines.append(f"set remotes{suffix} {{ type {endpoint} . {address}; {bounds}; size {REMOTES_SIZE}; }}")
    return lines


def exchange_chains() -> tuple[str, ...]:
    """The names of the chains. Each is declared before another one refers to it."""
    return "remember_exchange", "first_answer", LET_THROUGH


def exchange_rules() -> Mapping[str, list[str]]:
    """Chain -> its rules."""
    remember = [f"ct label set {ANSWERED}"]
    for suffix, header, _, _ in FAMILIES:
        for number in (17, 6):
            endpoint = f"meta l4proto . {header} saddr . th sport"
            remember += [
                f"meta l4proto {number} update @remotes{suffix} {{ {endpoint} . {header} daddr }} return",
                f"meta l4proto {number} update @answered{suffix} {{ {endpoint} }} return",
            ]
    return {
        LET_THROUGH: [f"ct direction reply ct label ! {ANSWERED} jump first_answer", "accept"],
        # a reset is an answer too, but no evidence of use
        "first_answer": ["meta l4proto 17 goto remember_exchange", "ct status assured goto remember_exchange"],
        "remember_exchange": remember,
    }
