"""The conntrack labels that our table sets, bits of 128 that every table of a network namespace shares.

They are the last four, since ``connlabel.conf`` of iptables and those who number by hand begin at 0. A label is
set once and never taken away. Another program that sets one of them has its flows dropped or cut by us.
"""

import struct

LET_IN = 127
"""A mapping or pinhole let the first packet in: the flow ends with it. Other tables may match on this label."""
ASKED = 126
"""The first packet was looked up in our maps. Where it was also translated, and the flow is not another table's
static forward, the translation is ours."""
MASQUERADED = 125
"""Router mode: our masquerade chose the source port, not a mapping."""
ANSWERED = 124
"""The LAN host answered, and the exchange is remembered (``nftables.exchanges``)."""

_WORDS = struct.Struct("=2Q")


def is_ours(labels: bytes) -> bool:
    """Whether the flow with these labels came through our maps. ``labels`` is CTA_LABELS as the kernel sent it."""
    if len(labels) != _WORDS.size:
        return False
    low, high = _WORDS.unpack(labels)
    return bool((high << 64 | low) >> ASKED & 0b11)
