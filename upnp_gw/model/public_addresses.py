"""IPv4 addresses that the internet cannot reach (RFC 6890)."""

from ipaddress import IPv4Address, IPv4Network

NOT_PUBLIC: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("100.64.0.0/10", "shared by a carrier's NAT (RFC 6598)"),
        ("169.254.0.0/16", "link-local (RFC 3927)"),
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        ("0.0.0.0/8", "this network (RFC 1122)"),
        ("192.0.0.0/24", "for protocol use, as in DS-Lite (RFC 6890)"),
        ("192.0.2.0/24", "for documentation (RFC 5737)"),
        ("198.51.100.0/24", "for documentation (RFC 5737)"),
        ("203.0.113.0/24", "for documentation (RFC 5737)"),
        ("198.18.0.0/15", "for benchmarks (RFC 2544)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
    )
)
"""IPv4 prefixes that are not reachable from the internet, and why (RFC 6890)."""

PRIVATE = tuple(network for network, _ in NOT_PUBLIC[:3])
"""RFC 1918."""


def private_external(address: IPv4Address) -> str | None:
    """The reason why the internet cannot reach this address, such as ``private (RFC 1918)``; None: it can."""
    return next((why for network, why in NOT_PUBLIC if address in network), None)
