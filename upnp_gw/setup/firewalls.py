"""Names the firewalls of a machine, and proposes a place beside them or as the firewall. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.other_tables.listing import forward_filters
from upnp_gw.firewall.other_tables.without_nat import translated_lans
from upnp_gw.firewall.rules.index import Chain, RulesetIndex
from upnp_gw.model.network import Link

Ruleset = dict[str, Any]
"""The listing of ``foreign_ruleset``."""

PROGRAMS: tuple[tuple[str, Callable[[Chain], bool]], ...] = (
    ("firewalld", lambda chain: chain.table.startswith("firewalld")),
    ("ufw", lambda chain: chain.name.startswith(("ufw-", "ufw6-"))),
    ("fw4 of OpenWrt", lambda chain: chain.table == "fw4"),
    ("Docker", lambda chain: chain.name.startswith("DOCKER") or chain.table == "docker-bridges"),
    ("libvirt", lambda chain: chain.name.startswith("LIBVIRT_") or chain.table == "libvirt_network"),
    ("Podman", lambda chain: chain.name.startswith("NETAVARK") or chain.table == "netavark"),
    ("Kubernetes", lambda chain: chain.name.startswith(("KUBE-", "CNI-", "FLANNEL-", "cali-"))),
    ("the firewall of Proxmox", lambda chain: chain.name.startswith("PVEFW-") or chain.table == "proxmox-firewall"),
    ("Tailscale", lambda chain: chain.name.startswith("ts-")),
    ("wg-quick", lambda chain: chain.table.startswith("wg-quick-")),
    ("fail2ban", lambda chain: chain.name.startswith("f2b-") or chain.table == "f2b-table"),
    ("LXD or Incus", lambda chain: chain.table in ("lxd", "incus")),
)
"""Name of a program -> a chain that it makes."""
OWN_RULES = "rules of your own"
IPTABLES = ("filter", "nat", "mangle", "raw", "security")


@dataclass(frozen=True, slots=True)
class Firewalls:
    """The other firewalls of a machine."""

    programs: tuple[str, ...] = ()
    """Those with chains in the kernel."""
    filters: tuple[str, ...] = ()
    """Chains that drop forwarded packets."""
    translated: frozenset[str] = frozenset()
    """LANs whose hosts another firewall translates."""
    idle: tuple[str, ...] = ()
    """Programs that start with the machine, and have no chains now."""
    problem: str = ""
    """The reason why the rules cannot be read; empty: they were."""


def find_firewalls(
    ruleset: Ruleset | None, wan: str, lans: Sequence[Link], idle: Sequence[str] = (), problem: str = ""
) -> Firewalls:
    """The firewalls of a ruleset. ``idle``: programs that start with the machine, with chains or without."""
    if ruleset is None:
        return Firewalls(idle=tuple(idle), problem=problem or "the rules cannot be read")
    programs = _programs(RulesetIndex.of(ruleset))
    return Firewalls(
        programs,
        tuple(forward_filters(ruleset)),
        translated_lans(ruleset, wan, lans),
        tuple(name for name in idle if name not in programs),
        problem,
    )


def _programs(rules: RulesetIndex) -> tuple[str, ...]:
    made = [(name, any(makes(chain) for chain in rules.chains.values())) for name, makes in PROGRAMS]
    found = [name for name, has in made if has]
    own = [
        chain
        for chain in rules.chains.values()
        if chain.rules or chain.policy == "drop"
        if not any(makes(chain) for _, makes in PROGRAMS)
        if not (found and chain.family in ("ip", "ip6") and chain.table in IPTABLES)
    ]
    return (*found, *([OWN_RULES] if own else []))


def named(firewalls: Firewalls) -> str:
    """The programs with chains, in words."""
    *first, last = firewalls.programs or ("another firewall",)
    return f"{', '.join(first)} and {last}" if first else last


def propose_mode(firewalls: Firewalls) -> tuple[FirewallMode, str]:
    """The mode, and a sentence for it."""
    if firewalls.problem:
        return FirewallMode.ALONGSIDE, f"other firewalls are unknown: {firewalls.problem}"
    done = [*(["filtered"] if firewalls.filters else []), *(["masqueraded"] if firewalls.translated else [])]
    if done:
        return FirewallMode.ALONGSIDE, f"forwarded packets are {' and '.join(done)} by {named(firewalls)}"
    if firewalls.idle:
        return FirewallMode.ALONGSIDE, f"{' and '.join(firewalls.idle)} may filter: found, without rules now"
    return FirewallMode.ROUTER, "no other firewall filters forwarded packets or masquerades"
