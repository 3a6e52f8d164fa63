"""How much one host of the LAN may send to our own servers: the kernel drops the rest before a socket sees it.

On a link with hardware addresses a host is its LAN and MAC address, whatever IP addresses it sends from. Hosts that
were heard before have a share each. New ones have one share together, and few of them are remembered in a second:
so a flood from made-up MAC addresses takes nothing from the hosts that were there before it. On a link without (a
tunnel) a host is its IPv4 address or its IPv6 /64.

The chain hooks input: it sees what is for the gateway itself, never what is forwarded or bridged. On UDP port 1900
it counts searches alone, since other programs of the gateway may listen there for announcements.
"""

from collections.abc import Mapping
from typing import NamedTuple

HOOK = "type filter hook input priority -300; policy accept;"
"""Before every filter. Conntrack comes earlier, at prerouting, but keeps no flow whose first packet is dropped."""
KNOWN, DROPPED = "known_hosts", "over_share"
KNOWN_SIZE = 512
"""Hosts that are remembered. One more is served from the share of the new ones."""
KNOWN_S = 7200
"""Longer than a NAT-PMP client waits until it renews (half of two hours, RFC 6886 section 3.3)."""
REMEMBERED = "limit rate 4/second burst 64 packets"
"""New hosts that are remembered: a home after a power cut at once, a flood of made-up ones slowly."""
SIZE = 1024
IDLE_S = 10
"""How long a share is remembered, seconds: longer than an empty one takes to be full again."""
DROPPED_S = 60
"""How long the kernel counts a host's dropped packets after the last one, seconds."""
M_SEARCH = "@th,64,64 0x4d2d534541524348"
"""The first eight bytes of a UDP payload: ``M-SEARCH``."""
_HOST, _SENDER = "ifname . ether_addr", "iifname . ether saddr"
SYN = "tcp flags & (fin|syn|rst|ack) == syn"


class Share(NamedTuple):
    """The share of one host: packets a second, and at once."""

    name: str
    per_s: int
    burst: int

    @property
    def over(self) -> str:
        return f"limit rate over {self.per_s}/second burst {self.burst} packets"


PORT_CONTROL = Share("5351", 64, 256)
"""As many as the server looks at (``servers.portcontrol_limits``): twice what it answers in the long run."""
SEARCHES = Share("1900", 32, 256)
"""The server answers nine a second; a control point also searches for what we are not."""
CONNECTIONS = Share("http", 200, 500)
"""New TCP connections. A control point opens one for each action."""
SHARES = (PORT_CONTROL, SEARCHES, CONNECTIONS)


def sets() -> list[str]:
    """The declarations."""
    lines = [
        f"set {KNOWN} {{ type {_HOST}; flags dynamic,timeout; timeout {KNOWN_S}s; size {KNOWN_SIZE}; }}",
        f"set {DROPPED} {{ type {_HOST} . inet_service; flags dynamic,timeout; timeout {DROPPED_S}s; size 64; }}",
    ]
    for share in SHARES:
        for suffix, kind in (("", f"type {_HOST}"), ("_ip", "typeof ip saddr"), ("_ip6", "typeof ip6 saddr")):
            bounds = f"flags dynamic,timeout; timeout {IDLE_S}s; size {SIZE};"
            lines.append(f"set share_{share.name}{suffix} {{ {kind}; {bounds} }}")
    return lines


def hooks() -> Mapping[str, str]:
    """Base chain -> where it hooks."""
    return {"own_servers": HOOK}


def chains() -> list[str]:
    """The other chains, in an order in which each is declared before it is named."""
    return ["drop_over_share", "remember_host", *(f"{kind}_{s.name}" for s in SHARES for kind in ("known", "new"))]


def rules(http_port: int) -> Mapping[str, list[str]]:
    """Chain -> rules. ``http_port``: TCP port of the HTTP server; 0: it chooses one later, and guards it alone."""
    own = [
        f"iifname @lan udp dport 5351 jump new_{PORT_CONTROL.name}",
        f"iifname @lan udp dport 1900 {M_SEARCH} jump new_{SEARCHES.name}",
    ]
    if http_port:
        own.append(f"iifname @lan tcp dport {http_port} {SYN} jump new_{CONNECTIONS.name}")
    found = {
        "own_servers": own,
        # a full set ends the rule that would add to it: so the drop is a rule of its own
        "drop_over_share": [f"update @{DROPPED} {{ {_SENDER} . th dport counter }}", "counter drop"],
        "remember_host": [f"{REMEMBERED} add @{KNOWN} {{ {_SENDER} }}"],
    }
    for share in SHARES:
        found |= _shared(share)
    return found


def _shared(share: Share) -> dict[str, list[str]]:
    name, over, drop = share.name, share.over, "goto drop_over_share"
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
