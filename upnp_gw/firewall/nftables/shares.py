"""Limits for packets from each LAN host to our own servers. The kernel drops the rest before a socket sees it.

On a link with hardware addresses the LAN and the MAC address identify a host, at any IP address. Known hosts have a
share each. New hosts have one share together, and only a few per second become known. So a flood from made-up MAC
addresses takes nothing from known hosts. On a link without hardware addresses (a tunnel) the IPv4 address or the
IPv6 /64 identifies a host.

The chain is on the input hook: it sees packets to the gateway itself, not forwarded or bridged ones. On UDP port
1900 it counts only searches, since other programs of the gateway may listen there for announcements.
"""

from collections.abc import Mapping
from typing import NamedTuple

HOOK = "type filter hook input priority -300; policy accept;"
"""Before every filter. Conntrack comes earlier, at prerouting, but keeps no flow whose first packet is dropped."""
KNOWN, DROPPED = "known_hosts", "over_share"
KNOWN_SIZE = 512
"""The most known hosts. Further hosts use the share of new hosts."""
KNOWN_S = 7200
"""Seconds that a host stays known: longer than a NAT-PMP client waits to renew (half of two hours, RFC 6886
section 3.3)."""
REMEMBERED = "limit rate 4/second burst 64 packets"
"""The rate at which new hosts become known: all hosts of a home after a power cut at once, a flood slowly."""
SIZE = 1024
"""The most shares of one kind at a time."""
IDLE_S = 10
"""Seconds that a share is remembered: longer than an empty share takes to refill."""
DROPPED_S = 60
"""Seconds after the last dropped packet of a host until the kernel forgets the count."""
M_SEARCH = "@th,64,64 0x4d2d534541524348"
"""The first eight bytes of a UDP payload: ``M-SEARCH``."""
_HOST, _SENDER = "ifname . ether_addr", "iifname . ether saddr"
SYN = "tcp flags & (fin|syn|rst|ack) == syn"


class Share(NamedTuple):
    """The share of one host: packets per second, and burst in packets."""

    name: str
    per_s: int
    burst: int

    @property
    def over(self) -> str:
        return f"limit rate over {self.per_s}/second burst {self.burst} packets"


PORT_CONTROL = Share("5351", 64, 256)
"""The server's own limit (``servers.port5351.limits``): twice its sustained rate of answers."""
SEARCHES = Share("1900", 32, 256)
"""The server answers nine per second; a control point also searches for other device types."""
CONNECTIONS = Share("http", 200, 500)
"""New TCP connections. A control point opens one per action."""
SHARES = (PORT_CONTROL, SEARCHES, CONNECTIONS)


def share_sets() -> list[str]:
    """The declarations of the sets."""
    lines = [
        f"set {KNOWN} {{ type {_HOST}; flags dynamic,timeout; timeout {KNOWN_S}s; size {KNOWN_SIZE}; }}",
        f"set {DROPPED} {{ type {_HOST} . inet_service; flags dynamic,timeout; timeout {DROPPED_S}s; size 64; }}",
    ]
    for share in SHARES:
        for suffix, kind in (("", f"type {_HOST}"), ("_ip", "typeof ip saddr"), ("_ip6", "typeof ip6 saddr")):
            bounds = f"flags dynamic,timeout; timeout {IDLE_S}s; size {SIZE};"
            lines.append(f"set share_{share.name}{suffix} {{ {kind}; {bounds} }}")
    return lines


def share_hooks() -> Mapping[str, str]:
    """Base chain -> its hook."""
    return {"own_servers": HOOK}


def share_chains() -> list[str]:
    """The names of the other chains. Each is declared before another one refers to it."""
    return ["drop_over_share", "remember_host", *(f"{kind}_{s.name}" for s in SHARES for kind in ("known", "new"))]


def share_rules(http_port: int) -> Mapping[str, list[str]]:
    """Chain -> its rules. ``http_port``: of the HTTP server (TCP); 0: chosen later, limited only by the server."""
    own = [
        f"iifname @lan udp dport 5351 jump new_{PORT_CONTROL.name}",
        f"iifname @lan udp dport 1900 {M_SEARCH} jump new_{SEARCHES.name}",
    ]
    if http_port:
        own.append(f"iifname @lan tcp dport {http_port} {SYN} jump new_{CONNECTIONS.name}")
    found = {
        "own_servers": own,
        # a full set ends the rule that adds to it, so the drop is a separate rule
        "drop_over_share": [f"update @{DROPPED} {{ {_SENDER} . th dport counter }}", "counter drop"],
        "remember_host": [f"{REMEMBERED} add @{KNOWN} {{ {_SENDER} }}"],
    }
    for share in SHARES:
        found |= _shared(share)
    return found


def _shared(share: Share) -> dict[str, list[str]]:
    name, over, drop = share.name, share.over, "goto drop_over_share"
    # an IPv6 host can use any address of its /64
    prefix = "ip6 saddr and ffff:ffff:ffff:ffff::"
    return {
        f"new_{name}": [
            f"meta iiftype != ether update @share_{name}_ip {{ ip saddr {over} }} {drop}",
            f"meta iiftype != ether update @share_{name}_ip6 {{ {prefix} {over} }} {drop}",
            "meta iiftype != ether return",
            f"{_SENDER} @{KNOWN} goto known_{name}",
            f"{over} {drop}",
            "goto remember_host",
        ],
        f"known_{name}": [
            f"update @{KNOWN} {{ {_SENDER} }}",
            f"update @share_{name} {{ {_SENDER} {over} }} {drop}",
        ],
    }
