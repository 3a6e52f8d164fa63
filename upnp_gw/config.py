"""The operator's configuration: frozen types, filled from TOML and the command line.

Options override the file, the file overrides what was detected. Every error is a ``ConfigError`` that names the
file, the key path (``lan[0].interface``) and what would be accepted.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model import IPNetwork


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a daemon is built from."""

    wan: str
    """The interface to the internet."""
    lan: tuple[str, ...]
    """The interfaces that are served, at least one, none of them the WAN."""
    routed: tuple[IPNetwork, ...] = ()
    """LAN prefixes behind another router of ours."""
    external_addresses: tuple[IPv4Address, ...] = ()
    """Several external addresses, the primary one first; empty: what the WAN interface has."""
    refuse_private_external: bool = False
    """Refuse mappings while the external address is private or shared (RFC 1918, 100.64/10)."""
    http_port: int = 5000
    """TCP port of description, control and eventing on each LAN address; 0: any free one."""
    faces: tuple[str, ...] = ("igd1", "igd2")
    friendly_name: str = "upnp-gw"
    presentation_url: str = ""
    """Shown by Windows; empty: the gateway's own status page address."""
    max_age_s: int = 1800
    """CACHE-CONTROL of announcements, seconds, >= 1800."""
    firewall: FirewallMode = FirewallMode.ALONGSIDE
    allow_other_forward: bool = False
    backend: str = "nftables"
    """nftables | memory"""
    hairpin: str = "all"
    """all | same"""
    visibility: str = "own"
    """own: a device sees and deletes its own mappings; all: the classic behaviour."""
    policy: Path | None = None
    """The policy file; None: the built-in home policy."""
    state_dir: Path = Path("/var/lib/upnp-gw")
    runtime_dir: Path = Path("/run/upnp-gw")
    durability: str = "normal"
    """normal: kill -9 loses nothing, power loss up to a second; full: every reply waits for the disk."""
