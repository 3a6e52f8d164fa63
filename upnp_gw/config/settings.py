"""The configuration as a frozen type, and its checks.

Every error is a ``ConfigError`` with the file, the key (``lan.interfaces[0]``) and the accepted values.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Endpoint, IPNetwork
from upnp_gw.model.network import Link
from upnp_gw.model.public_addresses import private_external
from upnp_gw.protocols.mode import ServiceMode

EMULATED_WAN = "emulated"
"""The name of the emulator's WAN; no interface has this name."""
EMULATED_ADDRESS = IPv4Address("11.22.33.44")
"""The external address of the emulator. upnpc reports no connection if it is private or for documentation."""
PAGE_LISTEN = Endpoint(IPv4Address("127.0.0.1"), 5081)

Settings = dict[str, Any]
"""Field of ``Config`` -> its value, for those that are given."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of the daemon."""

    wan: str
    """The interface to the internet."""
    lan: tuple[str, ...]
    """The served interfaces, at least one, without the WAN."""
    routed: Mapping[IPNetwork, str] = field(default_factory=dict)
    """LAN prefixes behind another router, each with its LAN interface while the kernel has no route to it; empty:
    the first LAN."""
    external_addresses: tuple[IPv4Address, ...] = ()
    """External addresses, the primary one first; empty: those of the WAN interface."""
    advertise: IPv4Address | None = None
    """Behind another router: the address that clients get; None: the external address."""
    refuse_private_external: bool = False
    """Refuse mappings while the external address is private or shared (RFC 1918, 100.64/10)."""
    upstream_when: str = "never"
    """never | private | always: the gateway above is asked for what the gate here grants. ``private``: only where
    the external address is one that the internet does not reach."""
    upstream_ask: tuple[str, ...] = ("pcp", "natpmp", "igd")
    """The protocols of the gateway above, in the order in which they are tried."""
    upstream_gateway: IPv4Address | None = None
    """The gateway above; None: the default router of the WAN."""
    upstream_lease_s: int = 1800
    """Seconds: the longest lease that is asked above. This gateway renews it."""
    upstream_timeout_s: int = 4
    """Seconds that a request waits for the gateway above."""
    http_port: int = 5000
    """TCP port of description, control and eventing on each LAN address; 0: any free port."""
    faces: tuple[str, ...] = ("igd1", "igd2")
    friendly_name: str = "upnp-gw"
    presentation_url: str = ""
    """Windows shows it; empty: the status page of the gateway."""
    max_age_s: int = 1800
    """CACHE-CONTROL of announcements, seconds, >= 1800."""
    natpmp: ServiceMode = ServiceMode.ON
    pcp: ServiceMode = ServiceMode.ON
    pcp_min_lifetime_s: int = 120
    """Seconds: the shortest PCP lifetime; ``max_ttl`` of the policy is the longest."""
    nonce_check: str = "strict"
    """strict | lenient: a PCP client may renew and delete with another nonce."""
    anycast: bool = False
    """PCP also answers at its anycast addresses, 192.0.0.9 and 2001:1::1 (RFC 7723)."""
    firewall: FirewallMode = FirewallMode.ALONGSIDE
    nat: bool = True
    """False: no IPv4 host is translated; outside, each has its own address. ``nat_of_lan`` counts first."""
    nat_of_lan: Mapping[str, bool] = field(default_factory=dict)
    """LAN interface -> ``nat`` of its hosts. Interfaces that are not served have no effect."""
    allow_other_forward: bool = False
    flush_on_stop: bool = False
    """True: a stop ends every mapping and its flows; False: they stay until their leases end (SR-3)."""
    backend: str = "nftables"
    """nftables | memory"""
    writer: str = "netlink"
    """netlink | libnftables: mappings are written into the kernel by our own messages or through the library."""
    hairpin: str = "all"
    """all | same"""
    visibility: str = "own"
    """own: a device sees and deletes its own mappings; all: those of every device."""
    policy: Path | None = None
    """The policy file; None: the built-in home policy."""
    on_reload: str = "revoke"
    """Mappings that a new policy does not allow: revoke ends them at once, keep when their leases end."""
    lease_files: tuple[Path, ...] = ()
    """Lease files of the DHCP server; empty: the usual places of dnsmasq, Kea, ISC dhcpd and systemd-networkd."""
    state_dir: Path = Path("/var/lib/upnp-gw")
    runtime_dir: Path = Path("/run/upnp-gw")
    user: str = ""
    """The user that root becomes at the start; empty: ``upnp-gw`` if it exists, else root."""
    control_group: str = ""
    """The Unix group that may use the control socket (mode 0660); empty: only its owner (0600)."""
    durability: str = "normal"
    """normal: kill -9 loses nothing, power loss up to a second; full: every reply waits for the disk."""
    keep_decisions: int = 100_000
    """Decisions kept in the audit log, the newest."""
    keep_days: int = 90
    """Days for which a decision is kept."""
    keep_evidence_days: int = 180
    """Days after the last request, use or sight for which evidence and counts of a device are kept."""
    page_lan: str = "own"
    """off | own | all: the mappings that ``upnp-gw page`` shows to a device of the LAN."""
    page_port: int = 5080
    """TCP port of the page for the LAN, on each LAN address."""
    page_listen: Endpoint = PAGE_LISTEN
    """Address and TCP port of the operator's page."""
    page_names: tuple[str, ...] = ()
    """Host names of the operator's page in a browser, beside its address and localhost."""
    page_certificate: Path | None = None
    """TLS certificate of the operator's page; None: its own pair, where TLS is needed."""
    page_key: Path | None = None
    page_plain: bool = False
    """True: the operator's page is served without TLS, although others on the LAN can read it."""
    page_runtime_dir: Path = Path("/run/upnp-gw-page")
    page_state_dir: Path = Path("/var/lib/upnp-gw-page")
    page_metrics_listen: Endpoint | None = None
    """Serves metrics there without a token; None: only the operator's page has them, for a token."""
    page_metrics_devices: int = 50
    """Devices with metrics of their own."""
    page_notify: tuple[NotifyTarget, ...] = ()
    log_format: str = "text"
    """text: a line for people; json: one object a line."""
    log_level: str = "info"
    """debug | info | warning | error"""
    text: str = field(default="", compare=False, repr=False)
    """The configuration file as it was read; empty: there was none."""
    file: Path | None = field(default=None, compare=False, repr=False)
    """Its absolute path."""

    @property
    def without_nat(self) -> frozenset[str]:
        """The LAN interfaces without NAT."""
        return frozenset(name for name in self.lan if not self.nat_of_lan.get(name, self.nat))


def check(config: Config, where: str) -> None:
    """Checks the configuration by itself (SR-4). ``where``: the file, or the command line. Raises ConfigError."""
    if config.wan in config.lan:
        raise ConfigError(
            where,
            f"lan.interfaces[{config.lan.index(config.wan)}]",
            f"{config.wan} is also the WAN; accepted: interfaces that do not lead to the internet",
        )
    if config.upstream_when != "never" and config.advertise is not None:
        when = f'[upstream] when = "{config.upstream_when}"'
        raise ConfigError(where, "wan.advertise", f"{when} learns the address; accepted: one of both")
    for index, prefix in enumerate(config.routed):
        for address in config.external_addresses:
            if address in prefix:
                raise ConfigError(
                    where,
                    f"lan.routed[{index}]",
                    f"{prefix} contains the external address {address}; LAN and WAN overlap",
                )


def check_links(config: Config, where: str, links: Iterable[Link], default_routes: Collection[str]) -> None:
    """Checks it against the machine (SR-4): LAN and WAN prefixes do not overlap, and no LAN is the internet.

    ``default_routes``: the interfaces of default routes. A missing link is not an error. IPv6 is not checked: with
    a single /64 of the provider, NDP relaying shares it between WAN and LAN. Raises ConfigError.
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
                    f"{name} leads to the internet: it has a default route and the public address {inside.ip}; "
                    "accepted: the interface of your own network",
                )
    for index, prefix in enumerate(config.routed):
        _check_apart(where, f"lan.routed[{index}]", str(prefix), prefix, config.wan, outside)


def _check_apart(
    where: str, key: str, network_text: str, prefix: IPNetwork, wan: str, outside: Iterable[IPv4Interface]
) -> None:
    for address in outside:
        if prefix.version == 4 and prefix.overlaps(address.network):
            raise ConfigError(where, key, f"{network_text}, but the WAN {wan} has {address}; LAN and WAN overlap")
