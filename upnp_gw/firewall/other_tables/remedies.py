"""The commands that make another firewall let our traffic through, in the terms of the program that wrote it. Pure.

The programs are nft for hand-written tables; iptables for its own tables, in Docker's user chain if it exists; ufw;
and firewalld, whose next reload would remove rules added by nft.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network

from upnp_gw.firewall.labels import LET_IN
from upnp_gw.firewall.rules.index import Chain, RulesetIndex, part
from upnp_gw.model.mapping import Transport

Services = Sequence[tuple[Transport, int]]
MARKS = (
    ("ufw", ("ufw-before-input", "ufw-before-forward", "ufw6-before-input", "ufw6-before-forward")),
    ("proxmox", ("PVEFW-INPUT", "PVEFW-FORWARD")),
    ("docker", ("DOCKER-USER",)),
    ("libvirt", ("LIBVIRT_INP", "LIBVIRT_FWI")),
)
"""Program -> chains beside a built-in chain of iptables that it alone makes. First those that filter everything."""


def program_of(rules: RulesetIndex, chain: Chain) -> str:
    """The program that wrote a base chain, as names tell: ``iptables`` or ``nftables`` if no other is known."""
    if _firewalld(chain):
        return "firewalld"
    if not _iptables(chain):
        tables = {"libvirt_network": "libvirt", "proxmox-firewall": "proxmox", "proxmox-firewall-guests": "proxmox"}
        return tables.get(chain.table, "nftables")
    found = [name for name, marks in MARKS if any(rules.target(chain, mark) is not None for mark in marks)]
    if found[:2] == ["docker", "libvirt"] and chain.policy != "drop":
        return "libvirt"  # beside Docker, which then rejects nothing of ours
    return found[0] if found else "iptables"


def for_mappings(rules: RulesetIndex, chain: Chain, lans: Sequence[str]) -> tuple[str, ...]:
    """The commands that accept mapped traffic, including hairpin."""
    if _iptables(chain):
        if (docker := _docker(rules, chain)) and lans:
            return tuple(f"{_insert(chain, docker)} -o {lan} -m conntrack --ctstate DNAT -j ACCEPT" for lan in lans)
        return (f"{_insert(chain)} -m conntrack --ctstate DNAT -j ACCEPT",)
    if _firewalld(chain):  # firewalld accepts every dnat unless StrictForwardPorts is set
        return (
            "sed -i s/^StrictForwardPorts=.*/StrictForwardPorts=no/ /etc/firewalld/firewalld.conf",
            "firewall-cmd --reload",
        )
    return (f"nft insert rule {chain} ct status dnat accept",)


def for_pinholes(
    rules: RulesetIndex, chain: Chain, wan: str, lans: Sequence[str], versions: Sequence[int] = (6,)
) -> tuple[str, ...]:
    """The commands that accept traffic to pinholes of these IP versions. firewalld cannot match our label: it gets
    a policy with a rule for a port of a host."""
    if _iptables(chain):
        return (f"{_insert(chain, _docker(rules, chain))} -m connlabel --label {LET_IN} -j ACCEPT",)
    if _firewalld(chain):
        zones = {zone for lan in lans if (zone := _zone(rules, chain, lan))}
        new = "firewall-cmd --permanent --policy upnp-gw"
        return (
            "firewall-cmd --permanent --new-policy upnp-gw",
            f"{new} --add-ingress-zone {_zone(rules, chain, wan) or 'external'}",
            *(f"{new} --add-egress-zone {zone}" for zone in sorted(zones)),
            *(
                f"{new} --add-rich-rule"
                f" 'rule family=ipv{v} destination address=HOST port port=PORT protocol=tcp accept'"
                for v in versions
            ),
            "firewall-cmd --reload",
        )
    return (f"nft insert rule {chain} ct label {LET_IN} accept",)


def for_untranslated(
    rules: RulesetIndex, chain: Chain, wan: str, nets: Sequence[IPv4Network], translated: Sequence[IPv4Network]
) -> tuple[str, ...]:
    """The commands that leave the source addresses of these prefixes. firewalld translates a whole zone: it gets a
    rule for each prefix that stays translated."""
    if _iptables(chain):
        return tuple(f"{_insert(chain)} -s {net} -j ACCEPT" for net in nets)
    if _firewalld(chain):
        zone = f"firewall-cmd --permanent --zone {_zone(rules, chain, wan) or 'external'}"
        rich = (f"{zone} --add-rich-rule 'rule family=ipv4 source address={net} masquerade'" for net in translated)
        return (f"{zone} --remove-masquerade", *rich, "firewall-cmd --reload")
    return tuple(f"nft insert rule {chain} ip saddr {net} accept" for net in nets)


def for_services(rules: RulesetIndex, chain: Chain, wan: str, lan: str, services: Services) -> tuple[str, ...]:
    """The commands that let clients on a LAN reach these ports of ours, including by multicast."""
    ports = {
        t: [str(port) for transport, port in services if transport is t] for t in (Transport.UDP, Transport.TCP)
    }
    ports = {transport: found for transport, found in ports.items() if found}
    if _firewalld(chain):
        return _firewalld_services(rules, chain, wan, lan, services)
    if _iptables(chain):
        if rules.target(chain, "ufw-user-input") or rules.target(chain, "ufw6-user-input"):
            return tuple(
                f"ufw allow in on {lan} proto {transport} to any port {','.join(found)}"
                for transport, found in ports.items()
            )
        return tuple(
            f"{_insert(chain)} -i {lan} -p {transport} {_dports(found)} -j ACCEPT"
            for transport, found in ports.items()
        )
    return tuple(
        f'nft insert rule {chain} iifname "{lan}" {transport} dport {{ {", ".join(found)} }} accept'
        for transport, found in ports.items()
    )


def _firewalld_services(
    rules: RulesetIndex, chain: Chain, wan: str, lan: str, services: Services
) -> tuple[str, ...]:
    zone, change = _zone(rules, chain, lan), []
    if zone is None or zone == _zone(rules, chain, wan):  # a port opened there is open to the internet
        zone = "internal"
        change = [f"firewall-cmd --permanent --zone {zone} --change-interface {lan}"]
    opened = " ".join(f"--add-port {port}/{transport}" for transport, port in services)
    return (*change, f"firewall-cmd --permanent --zone {zone} {opened}", "firewall-cmd --reload")


def _dports(ports: Sequence[str]) -> str:
    return f"--dport {ports[0]}" if len(ports) == 1 else f"-m multiport --dports {','.join(ports)}"


def _iptables(chain: Chain) -> bool:
    """True for a built-in chain of iptables: its name is in capitals."""
    tables = ("filter", "raw", "mangle", "security", "nat")
    names = ("INPUT", "FORWARD", "PREROUTING", "POSTROUTING")
    return chain.family in ("ip", "ip6") and chain.table in tables and chain.name in names


def _insert(chain: Chain, into: str = "") -> str:
    table = "" if chain.table == "filter" else f" -t {chain.table}"
    return f"{'ip6tables' if chain.family == 'ip6' else 'iptables'}{table} -I {into or chain.name}"


def _docker(rules: RulesetIndex, chain: Chain) -> str:
    """The chain that Docker leaves to the operator; empty without Docker."""
    return "DOCKER-USER" if chain.name == "FORWARD" and rules.target(chain, "DOCKER-USER") is not None else ""


def _firewalld(chain: Chain) -> bool:
    return chain.table.startswith("firewalld")


def _zone(rules: RulesetIndex, chain: Chain, interface: str) -> str | None:
    """The firewalld zone of an interface, from the names of the zone chains; the default zone comes last."""
    zones = rules.target(chain, "filter_INPUT_ZONES")
    for rule in zones.rules if zones is not None else ():
        target = next((part(e, "goto", "target") for e in rule if part(e, "goto") is not None), None)
        bound = [part(e, "match", "right") for e in rule if part(e, "match", "left", "meta", "key") == "iifname"]
        if isinstance(target, str) and target.startswith("filter_IN_") and (not bound or interface in bound):
            return target.removeprefix("filter_IN_")
    return None
