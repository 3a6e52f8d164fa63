"""PCP at its anycast addresses (RFC 7723): a host or a router below sends requests there without knowing us.

The addresses are on no interface. A redirect leads such a datagram to our own address on the link that it came in
on, and conntrack gives the answer the address that was asked. Requests from the WAN are not redirected.
"""

ADDRESSES = {"ip": "192.0.0.9", "ip6": "2001:1::1"}
"""Protocol in a rule -> the anycast address (RFC 7723 section 4)."""


def redirects() -> list[str]:
    """The rules, for a chain at prerouting that may translate."""
    return [
        f"iifname @lan {protocol} daddr {address} udp dport 5351 redirect"
        for protocol, address in ADDRESSES.items()
    ]
