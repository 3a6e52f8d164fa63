"""Random ordered permission lists, every request of a small universe around their edges, and a plain first-match
evaluator that reads the text of the lines itself.

``python -m tests.migration.small_lines --lists 20000`` is the long run; the tests make a short one.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv4Interface, ip_address
from pathlib import Path
from random import Random

from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, Outcome
from upnp_gw.gate.load import load_text
from upnp_gw.gate.portset import contains
from upnp_gw.gate.schema import Policy
from upnp_gw.migration.conversion import Conversion, convert
from upnp_gw.migration.miniupnpd_conf import read_miniupnpd
from upnp_gw.migration.original import Original
from upnp_gw.migration.settings import Chosen
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.request import MapRequest, PortChoice, Source

TODAY = date(2026, 6, 1)
PORTS = (1, 22, 80, 1023, 1024, 5000, 65534, 65535)
RANGES = (
    *("0", "22", "80", "1024", "65535", "0-65535", "1-65535", "0-1023", "1024-65535", "22-80", "80-5000"),
    *("23-1023", "5000-65534"),
)
CLIENTS = ("192.168.1.2", "192.168.1.3", "192.168.1.6", "192.168.2.2", "10.0.0.5")
PREFIXES = (
    *("192.168.1.2", "192.168.1.2/32", "192.168.1.2/31", "192.168.1.0/30", "192.168.1.0/24", "192.168.0.0/16"),
    *(
        "10.0.0.0/8",
        "0.0.0.0/0",
        "0/0",
        "192.168.1.6/255.255.255.255",
        "192.168.0.2/255.255.251.255",
        "172.16.0.0/12",
    ),
)
LAN = Link("lan", 2, True, (IPv4Interface("192.168.0.1/16"), IPv4Interface("10.0.0.1/8")))
NETWORK = Network(wan=Link("wan", 1, True, (IPv4Interface("198.51.100.9/24"),)), lans=(LAN,))


@dataclass(frozen=True)
class Wrong(Exception):
    """The policy and the lines disagree."""

    where: str


def random_lines(random: Random) -> list[str]:
    """Up to eight lines; the last one often denies the rest."""
    lines = [
        f"{random.choice(('allow', 'allow', 'deny'))} {random.choice(RANGES)} {random.choice(PREFIXES)}"
        f" {random.choice(RANGES)}"
        for _ in range(random.randrange(8))
    ]
    return [*lines, *(["deny 0-65535 0.0.0.0/0 0-65535"] if random.random() < 0.6 else [])]


def plain_answer(lines: Sequence[str], client: str, ext: int, int_: int) -> bool:
    """The first line that matches decides; none matches: allowed."""
    for line in lines:
        verb, external, prefix, internal = line.split()
        if _in_range(external, ext) and _in_range(internal, int_) and _in_prefix(prefix, client):
            return verb == "allow"
    return True


def _in_range(text: str, port: int) -> bool:
    low, _, high = text.partition("-")
    return int(low) <= port <= int(high or low)


def _in_prefix(text: str, client: str) -> bool:
    address, _, mask = text.partition("/")
    bits = _mask(mask) if mask else 0xFFFFFFFF
    return _number(client) & bits == (0 if address == "0" else _number(address)) & bits


def _mask(text: str) -> int:
    return _number(text) if "." in text else ((1 << int(text)) - 1) << (32 - int(text))


def _number(text: str) -> int:
    return sum(int(octet) << shift for octet, shift in zip(text.split("."), (24, 16, 8, 0), strict=True))


def converted(lines: Sequence[str]) -> Conversion:
    """The lines in a file with both interfaces and all protocols, taken over."""
    return convert(original_of(lines), Chosen(), Path("policy.toml"), TODAY)


def original_of(lines: Sequence[str]) -> Original:
    text = "\n".join(["ext_ifname=eth0", "listening_ip=br0", "enable_pcp_pmp=yes", *lines])
    return read_miniupnpd(text.encode(), "random.conf")


def check_lines(lines: Sequence[str]) -> Counter[str]:
    """Raises Wrong. Returns how many requests were decided."""
    found = converted(lines)
    if found.differences:
        raise Wrong(f"not proved equal: {lines}: {found.differences}")
    policy = load_text(found.policy, "policy.toml", TODAY).policy
    seen: Counter[str] = Counter(lists=1, rules=found.policy.count("[[grant]]") + found.policy.count("[[forbid]]"))
    for client in CLIENTS:
        for int_ in PORTS:
            wanted = {ext for ext in PORTS if plain_answer(lines, client, ext, int_)}
            got = {ext for ext in PORTS if _exact(policy, client, ext, int_)}
            if got != wanted:
                raise Wrong(f"{client}:{int_}: external {sorted(got)} instead of {sorted(wanted)}: {lines}")
            if (chosen := _chosen(policy, client, int_)) != wanted:
                raise Wrong(f"{client}:{int_}: may choose {sorted(chosen)} instead of {sorted(wanted)}: {lines}")
            seen["requests"] += len(PORTS) + 1
            seen["allowed"] += len(wanted)
    return seen


def _exact(policy: Policy, client: str, ext: int, int_: int) -> bool:
    asked = request(Via.IGD1, client, ext, int_, PortChoice.EXACT)
    return decide(policy, facts(client), asked).outcome is Outcome.ALLOW


def _chosen(policy: Policy, client: str, int_: int) -> set[int]:
    """The ports that the gateway may choose."""
    verdict = decide(policy, facts(client), request(Via.PCP, client, 0, int_, PortChoice.SUGGESTED))
    if verdict.clamps is None:
        return set()
    return {ext for ext in PORTS if contains(verdict.clamps.external_ports, ext)}


def request(via: Via, client: str, ext: int, int_: int, choice: PortChoice) -> MapRequest:
    """A request for a TCP port."""
    address = ip_address(client)
    return MapRequest(
        source=Source(address, "lan"),
        via=via,
        transport=Transport.TCP,
        internal=Endpoint(address, int_),
        external_port=ext,
        choice=choice,
        lifetime_s=3600,
    )


def facts(client: str) -> Facts:
    """A host of the LAN without a name."""
    mac = f"02:00:00:00:00:{CLIENTS.index(client):02x}"
    return Facts(
        device=mac,
        mac=mac,
        address=ip_address(client),
        target_device=mac,
        target_mac=mac,
        network=NETWORK,
        gateway_ports=GatewayPorts(),
        minute_of_day=720,
        today=TODAY.toordinal(),
        lan="lan",
        target_lan="lan",
        main_lan="lan",
    )


def seeds(first: int, count: int) -> Iterator[list[str]]:
    """Random lists, the same for the same numbers."""
    for seed in range(first, first + count):
        yield random_lines(Random(seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first list")
    arguments = parser.parse_args()
    seen: Counter[str] = Counter()
    started = time.monotonic()
    for lines in seeds(arguments.seed, arguments.lists):
        try:
            seen += check_lines(lines)
        except Wrong as error:
            print(error.where, file=sys.stderr)
            sys.exit(1)
    counted = ", ".join(f"{key}: {count}" for key, count in sorted(seen.items()))
    print(f"{time.monotonic() - started:.0f} s, no mismatch; {counted}")


if __name__ == "__main__":
    main()
