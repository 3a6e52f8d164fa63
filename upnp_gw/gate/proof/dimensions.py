"""The dimensions of a request: every field of request and facts that ``decide`` reads, or the reason why a field is
no dimension. A test compares this list with what ``decide`` reads.
"""

from collections.abc import Mapping

SHAPE = 0
"""The relation of external and internal port, and who chooses: bits of ``Shape``."""
RELATION = 1
"""The relation of requester and internal client: bits of ``Relation``."""
TRANSPORT = 2
VIA = 3
MAC = 4
"""The requester's MAC address."""
TARGET_MAC = 5
"""The internal client's MAC address where it is another device."""
LAN = 6
TARGET_LAN = 7
LEASE = 8
"""The requester's DHCP lease: its name, and whether lease, MAC and address agree."""
TIME = 9
"""Wall-clock time, divided where a rule ends."""
INT = 10
"""The internal port."""
EXT = 11
"""The external port that is asked for, or that the gateway may choose; only where it is not the internal port.
``UNDECIDED``: a question to the operator does not name one."""
TARGET = 12
"""The address of the internal client."""
SOURCE = 13
"""The address of the requester where it is not that of the internal client."""
REMOTE = 14
"""A remote host that could connect, or that the request names."""
REMOTE_PORT = 15
"""The port of the remote host that the request names; 0: none."""
MINUTE = 16
"""The minute of the local day."""
DAY = 17
"""The kinds of today and of yesterday: a day of the week, or a holiday."""
ZONE = 100
"""ZONE + n: the whole LAN of the requester is in zone n. 1: it is not; 2: it is."""
TARGET_ZONE = 1_000_000
"""The same of the internal client, where it is another device."""

UNDECIDED = 0


class Shape:
    """Bits of ``SHAPE``. Where the external port is the internal one, ``EXT`` does not count."""

    EXACT_SAME = 1
    EXACT_OTHER = 2
    CHOSEN_SAME = 4
    """The gateway chooses the external port, and could choose the internal one."""
    CHOSEN_OTHER = 8
    PINHOLE = 16
    """Nothing is translated. Also an exact other port of a pinhole, which no policy lets pass (SAME_PORT)."""

    SAME = EXACT_SAME | CHOSEN_SAME | PINHOLE
    OTHER = EXACT_OTHER | CHOSEN_OTHER
    EXACT = EXACT_SAME | EXACT_OTHER
    CHOSEN = CHOSEN_SAME | CHOSEN_OTHER
    TRANSLATED = EXACT | CHOSEN
    ALL = TRANSLATED | PINHOLE


class Relation:
    """Bits of ``RELATION``."""

    SAME_ADDRESS = 1
    """The device asks for the address from which it asks: ``SOURCE`` does not count."""
    SAME_DEVICE = 2
    """The device asks for another of its own addresses."""
    OTHER_DEVICE = 4

    OWN = SAME_ADDRESS | SAME_DEVICE
    TWO_ADDRESSES = SAME_DEVICE | OTHER_DEVICE
    ALL = OWN | OTHER_DEVICE


_ROOM = "room: counted at the moment of the request; every assignment is considered"
_INCIDENT = "a rate or an incident: it only denies, and no file decides it"
_AGAIN = "a repeated decision: fewer reasons to deny, and no other rule"
_NETWORK = "the network as it is at the moment: the floor, which only denies"
_LENGTH = "the length of a lease, and the moment of the next decision"

REQUEST: Mapping[str, tuple[int, ...] | str] = {
    "via": (VIA,),
    "transport": (TRANSPORT,),
    "internal": (TARGET, INT),
    "external_port": (EXT, SHAPE),
    "choice": (SHAPE,),
    "pinhole": (SHAPE, TARGET),
    "external_address": (SHAPE,),
    "needs_nat": (SHAPE,),
    "remote": (REMOTE,),
    "remote_port": (REMOTE_PORT,),
    "filters": (REMOTE, REMOTE_PORT),
    "lifetime_s": _LENGTH,
    "permanent": "only the operator's, on whom no rule applies",
}
"""Field or property of ``MapRequest`` that ``decide`` reads -> its dimensions, or the reason why it has none."""

FACTS: Mapping[str, tuple[int, ...] | str] = {
    "device": (RELATION,),
    "target_device": (RELATION,),
    "mac": (MAC,),
    "target_mac": (TARGET_MAC,),
    "address": (SOURCE, TARGET),
    "lan": (LAN,),
    "main_lan": (LAN,),
    "target_lan": (TARGET_LAN,),
    "network": (ZONE, TARGET_ZONE),
    "minute_of_day": (MINUTE,),
    "today": (DAY,),
    "wall": (TIME,),
    "dhcp_name": (LEASE,),
    "lease_agrees": (LEASE,),
    "restoring": (LEASE,),
    "second_of_minute": _LENGTH,
    "clock_change_s": _LENGTH,
    "gateway_ports": _NETWORK,
    "held": _ROOM,
    "int_ports_today": _ROOM,
    "changes_last_minute": _INCIDENT,
    "frozen": _INCIDENT,
    "quarantined": _INCIDENT,
    "stale_sets": "an address list that is out of date: it only denies, and no policy decides it",
    "renewing": _AGAIN,
    "standing": _AGAIN,
}
"""The same for ``Facts``."""
