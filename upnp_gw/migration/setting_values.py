"""Values of miniupnpd.conf as miniupnpd reads them, and the keys that nothing here corresponds to."""

import re
from collections.abc import Iterable, Mapping

from upnp_gw.text.escape import shown

_NUMBER = re.compile(r"[ \t]*([+-]?[0-9]{1,9})", re.ASCII)
WORDS = ("yes", "no", "0", "1", "")

_PF = "it is about pf and ipf, firewalls of BSD"
_FIREWALL = "the rules are in a table of their own, inet upnp_gw"
_DESCRIPTION = "devices are told the description of this gateway"
NOT_CARRIED: Mapping[str, str] = {
    "ext_stun_host": "no STUN server is asked",
    "ext_stun_port": "no STUN server is asked",
    "ipv6_listening_ip": "each LAN address is listened at",
    "https_port": "UPnP is answered over HTTP alone",
    "bitrate_up": "devices are told the speed of the WAN interface",
    "bitrate_down": "devices are told the speed of the WAN interface",
    "manufacturer_name": _DESCRIPTION,
    "manufacturer_url": _DESCRIPTION,
    "model_name": _DESCRIPTION,
    "model_description": _DESCRIPTION,
    "model_url": _DESCRIPTION,
    "model_number": _DESCRIPTION,
    "serial": _DESCRIPTION,
    "uuid": "this gateway has its own one: devices see a new gateway",
    "system_uptime": "devices are told since when the WAN is connected",
    "packet_log": _PF,
    "anchor": _PF,
    "queue": _PF,
    "tag": _PF,
    "quickrules": _PF,
    "clean_ruleset_threshold": "a mapping ends with its lease, used or not",
    "clean_ruleset_interval": "a mapping ends with its lease, used or not",
    "upnp_table_name": _FIREWALL,
    "upnp_nat_table_name": _FIREWALL,
    "upnp_forward_chain": _FIREWALL,
    "upnp_nat_chain": _FIREWALL,
    "upnp_nat_postrouting_chain": _FIREWALL,
    "upnp_nftables_family_split": _FIREWALL,
    "minissdpdsocket": "searches of devices are answered without minissdpd",
}
"""Key -> the reason why it is not carried."""


def is_yes(value: str) -> bool:
    """True for ``yes`` alone: any other word is no, one with a comment after it too."""
    return value == "yes"


def leading_number(value: str) -> int:
    """The number at the beginning of a text, 0 without one (``atoi``). At most nine digits count."""
    found = _NUMBER.match(value)
    return int(found[1]) if found else 0


def misread(value: str, read_as: str) -> str:
    """A remark about a word that is neither yes nor no; empty for those."""
    return "" if value in WORDS else f'; miniupnpd reads "{shown(value, 40)}" as {read_as}'


def similar_key(key: str, known: Iterable[str]) -> str:
    """The known key that looks most like this one; empty: none does."""
    from difflib import get_close_matches  # only for an unknown key

    near = get_close_matches(key, list(known), n=1, cutoff=0.7)
    return near[0] if near else ""
