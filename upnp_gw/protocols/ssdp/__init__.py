"""SSDP, sans I/O (IGD section 2): announcements and answers to searches.

targets     the notify set of a root device, and which of its rows answer a search
search      bytes -> ``Search`` or ``WireError``
foreign     the control point's side: searches, answers to them, announcements of another gateway
groups      the multicast groups
messages    alive, byebye, update and search answers as bytes
announcer   when complete sets are announced
responder   searches in, answers out, each at a random time
"""

from upnp_gw.protocols.ssdp.announcer import AnnouncementRound, Announcer, Nts, next_boot_id
from upnp_gw.protocols.ssdp.messages import (
    MessageIdentity,
    build_alive,
    build_answer,
    build_byebye,
    build_update,
    server_token,
)
from upnp_gw.protocols.ssdp.responder import Responder, SearchResponse
from upnp_gw.protocols.ssdp.search import Search, parse_search
from upnp_gw.protocols.ssdp.targets import SsdpTarget, matching_targets, notify_set

__all__ = [
    "AnnouncementRound",
    "Announcer",
    "MessageIdentity",
    "Nts",
    "Responder",
    "Search",
    "SearchResponse",
    "SsdpTarget",
    "build_alive",
    "build_answer",
    "build_byebye",
    "build_update",
    "matching_targets",
    "next_boot_id",
    "notify_set",
    "parse_search",
    "server_token",
]
