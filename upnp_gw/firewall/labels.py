"""The conntrack labels that our table sets. All tables of a network namespace share 128 of them.

Ours are the last four, since ``connlabel.conf`` of iptables and hand-written rules start at 0. A label is set once
and never cleared. If another program sets one of these labels, our table drops or cuts its flows.
"""

import struct

LET_IN = 127
"""A mapping or pinhole let the first packet in. The flow ends with it. Other tables may match this label."""
ASKED = 126
"""The first packet was looked up in our maps. If the destination was translated and no other table has a static
forward for it, the translation is ours."""
MASQUERADED = 125
"""Router mode: our masquerade chose the source port, not a mapping."""
ANSWERED = 124
"""The LAN host answered, and the exchange is remembered (``nftables.exchanges``)."""

_WORDS = struct.Struct("=2Q")


def is_ours(labels: bytes) -> bool:
    """True if a flow with these labels came through our maps. ``labels``: CTA_LABELS as the kernel sent it."""
    return bool(_bits(labels) >> ASKED & 0b11)


def was_let_in(labels: bytes) -> bool:
    """True if a mapping or pinhole let a flow with these labels in."""
    return bool(_bits(labels) >> LET_IN & 1)


def _bits(labels: bytes) -> int:
    if len(labels) != _WORDS.size:
        return 0
    low, high = _WORDS.unpack(labels)
    return int(high << 64 | low)
