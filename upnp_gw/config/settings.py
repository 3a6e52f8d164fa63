"""The operator's configuration: frozen types, filled from TOML and the command line.

Options override the file, the file overrides what was detected. Every error is a ``ConfigError`` that names the
file, the key path (``lan[0].interface``) and what would be accepted.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import IPNetwork
from upnp_gw.model.network import Link, private_external
from upnp_gw.protocols.mode import ServiceMode


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
    advertise: IPv4Address | None = None
    """Behind another router: the address that clients are told; None: the external address."""
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
    natpmp: ServiceMode = ServiceMode.ON
    pcp: ServiceMode = ServiceMode.ON
    pcp_min_lifetime_s: int = 120
    """The shortest PCP lifetime, seconds; the longest is the policy's ``max_ttl``."""
    nonce_check: str = "strict"
    """strict | lenient: a PCP client renews and deletes with another nonce than it mapped with."""
    firewall: FirewallMode = FirewallMode.ALONGSIDE
    allow_other_forward: bool = False
    flush_on_stop: bool = False
    """A stop ends every mapping and its flows at once; else they go on until their leases end (SR-3)."""
    backend: str = "nftables"
    """nftables | memory"""
    hairpin: str = "all"
    """all | same"""
    visibility: str = "own"
    """own: a device sees and deletes its own mappings; all: the classic behaviour."""
    policy: Path | None = None
    """The policy file; None: the built-in home policy."""
    on_reload: str = "revoke"
    """revoke: what a new policy does not allow any more ends at once; keep: when its lease does."""
    lease_files: tuple[Path, ...] = ()
    """Lease files of the DHCP server; empty: the usual places of dnsmasq, Kea, ISC dhcpd and systemd-networkd."""
    state_dir: Path = Path("/var/lib/upnp-gw")
    runtime_dir: Path = Path("/run/upnp-gw")
    user: str = ""
    """Whom root becomes at start; empty: ``upnp-gw`` where the machine has that user, else it stays root."""
    control_group: str = ""
    """The Unix group that may use the control socket (mode 0660); empty: its owner alone (0600)."""
    durability: str = "normal"
    """normal: kill -9 loses nothing, power loss up to a second; full: every reply waits for the disk."""
    keep_decisions: int = 100_000
    """Decisions in the audit log; the oldest leave."""
    keep_days: int = 90
    """Days after which a decision leaves it."""
    log_format: str = "text"
    """text: a line for people; json: one object a line."""
    log_level: str = "info"
    """debug | info | warning | error"""


def check(config: Config, where: str) -> None:
    """What can be told from the configuration alone. ``where``: the file, or the command line (SR-4)."""
    if config.wan in config.lan:
        raise ConfigError(
            where,
            f"lan.interfaces[{config.lan.index(config.wan)}]",
            f"{config.wan} is also the WAN; a LAN interface is one that does not lead to the internet",
        )
    for index, prefix in enumerate(config.routed):
        for address in config.external_addresses:
            if address in prefix:
                raise ConfigError(
                    where,
                    f"lan.routed[{index}]",
                    f"{prefix} holds the external address {address}; LAN and WAN overlap",
                )


def check_links(config: Config, where: str, links: Iterable[Link], default_routes: Collection[str]) -> None:
    """What can be told from the machine (SR-4): LAN prefixes apart from the WAN's, no LAN that is the internet.

    ``default_routes``: the interfaces that default routes leave by. A link that is not there yet is no mistake.
    IPv6 is left out: where the provider gives one /64, NDP relaying shares it between WAN and LAN on purpose.
    """
    by_name = {link.name: link for link in links}
    wan = by_name.get(config.wan)
    outside = [address for address in wan.addresses if isinstance(address, IPv4Interface)] if wan else []
    for index, name in enumerate(config.lan):
        key = f"lan.interfaces[{index}]"
        for inside in by_name[name].addresses if name in by_name else ():
            if not isinstance(inside, IPv4Interface):
                continue
            _check_apart(where, key, f"{name} has {inside}", inside.network, config.wan, outside)
            if name in default_routes and private_external(inside.ip) is None:
                raise ConfigError(
                    where,
                    key,
                    f"{name} leads to the internet: it holds a default route and the public address {inside.ip}; "
                    "name the interface of your own network",
                )
    for index, prefix in enumerate(config.routed):
        _check_apart(where, f"lan.routed[{index}]", str(prefix), prefix, config.wan, outside)


def _check_apart(
    where: str, key: str, what: str, prefix: IPNetwork, wan: str, outside: Iterable[IPv4Interface]
) -> None:
    for address in outside:
        if prefix.version == 4 and prefix.overlaps(address.network):
            raise ConfigError(where, key, f"{what}, but the WAN {wan} has {address}; LAN and WAN overlap")
