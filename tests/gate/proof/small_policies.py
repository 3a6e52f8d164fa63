"""Random small policies with invariants, and small universes of requests around their edges."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from ipaddress import IPv4Interface, ip_address, ip_network
from random import Random
from typing import Any

from tests.fixtures.address_lists import ListsInMemory
from upnp_gw.gate.build import build_policy
from upnp_gw.gate.decision import Facts
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.schema import Policy
from upnp_gw.model.device import device_id
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport, Via
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.request import MapRequest, PortChoice, Source

Table = dict[str, Any]
MACS = tuple(f"02:00:00:00:00:0{n}" for n in range(1, 6))
DEVICES: dict[str, Table] = {
    "pc": {"mac": [MACS[0]]},
    "tv": {"mac": [MACS[1]], "ip": ["192.168.1.40"]},
    "cam": {"ip": ["192.168.1.50", "2001:db8:1::50"]},
    "lap": {"mac": [MACS[2]], "dhcp_name": "Lap", "assure": "lease"},
    "kid": {"mac": [MACS[3]], "lan": ["guest0"]},
    "any": {"mac": [MACS[0], MACS[4]], "lan": ["*"], "assure": "ip", "ip": ["192.168.1.23"]},
}
GROUPS = {"two": ["pc", "tv"], "many": ["pc", "cam", "lap", "kid"]}
ZONES = {"guest": ["192.168.20.0/30", "2001:db8:20::/64"], "main": ["192.168.1.0/24"]}
PORTS = (22, 1023, 1024, 2000, 2001, 65535)
SPANS: tuple[Any, ...] = (22, 1023, 1024, 2000, 2001, 65535, "1-1023", "1024-2000", "2000-2001", "1024-65535")
ADDRESSES = (
    *(
        "192.168.1.23",
        "192.168.1.40",
        "192.168.1.50",
        "192.168.20.1",
        "192.168.20.3",
        "192.168.20.4",
        "203.0.113.5",
    ),
    *("2001:db8:1::23", "2001:db8:1::50", "2001:db8:20::7", "fd00::7", "fe80::7", "169.254.3.3"),
)
HOURS: tuple[Any, ...] = (
    *("06:00-13:00", "23:00-06:00", "13:00-24:00", "12:00-12:01", "mon-fri 06:00-13:00", "sat,holidays", "sun"),
    *("fri 23:00-06:00", ["mon 22:00-12:01", "holidays 12:00-06:00"]),
)
HOLIDAYS: tuple[list[Any], ...] = ([], [], [date(2026, 12, 25)], ["01-01", date(2026, 12, 26)])
DAYS = tuple(
    date.fromisoformat(text).toordinal()
    for text in ("2026-06-01", "2026-06-05", "2026-06-06", "2026-06-07", "2026-12-25", "2026-12-26", "2027-01-01")
)
MINUTES = (0, 359, 360, 719, 720, 721, 779, 780, 1379, 1380, 1439)
REMOTES: tuple[Any, ...] = (
    ["203.0.113.0/24"],
    ["203.0.113.128/25", "2001:db8:9::/48"],
    ["2001:db8:9::/48"],
    ["0.0.0.0/0"],
    ["@bots"],
    {"never": ["@bots"]},
    {"only": ["203.0.113.0/24"], "never": ["@bots", "198.51.100.7"]},
    {"only": ["@bots"], "never": ["0.0.0.0/0"]},
)
LISTS = ListsInMemory({"bots.txt": "203.0.113.0/25\n2001:db8:9::/64\n"})
REMOTE_HOSTS = ("203.0.113.7", "203.0.113.130", "198.51.100.7", "2001:db8:9::1", "2001:db8:8::1")
ENDS = ("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
WALLS = (0.0, 1893456000.0 - 1, 1893456000.0, 1924992000.0)
LANS = ("lan", "guest0", "wifi")


def _some(random: Random, chance: float, **keys: Any) -> Table:
    """Each key with a chance; its value is drawn by calling it."""
    return {key.rstrip("_"): draw() for key, draw in keys.items() if random.random() < chance}


def _rule(random: Random) -> Table:
    choose = random.choice
    return _some(
        random,
        0.3,
        zone=lambda: choose(sorted(ZONES)),
        proto=lambda: choose(["tcp", "udp"]),
        family=lambda: choose(["ip4", "ip6"]),
        int_ports=lambda: random.sample(SPANS, random.randint(1, 2)),
        ext_ports=lambda: random.sample(SPANS, random.randint(1, 2)),
        until=lambda: choose(ENDS),
    )


def policy_tables(random: Random) -> Table:
    """The tables of a random policy, without invariants."""
    devices = random.sample(sorted(DEVICES), random.randint(1, 4))
    groups = {name: [one for one in members if one in devices] for name, members in GROUPS.items()}
    names = [*devices, *(f"@{name}" for name in groups)]
    choose = random.choice
    forbids = []
    for number in range(random.randint(0, 3)):
        who = {"who": choose(names)} if random.random() < 0.5 else {}
        more = _some(
            random,
            0.25,
            zone=lambda: choose([{"from": "guest"}, {"for": "main"}, {"from": "main", "for": "guest"}]),
            remote=lambda: choose(REMOTES),
            hours=lambda: choose(HOURS),
            via=lambda: choose(["igd1", ["natpmp", "pcp"]]),
        )
        forbids.append({"name": f"f{number}", **who, **_rule(random), **more})
    grants = []
    for number in range(random.randint(0, 3)):
        more = _some(
            random,
            0.25,
            for_=lambda: choose([["192.168.1.40/32"], ["192.168.0.0/16"], ["2001:db8:1::/64"]]),
            ext=lambda: choose(["same", "any"]),
            remote=lambda: choose(REMOTES),
            remote_ports=lambda: [choose([443, "400-500"])],
            hours=lambda: choose(HOURS),
            max_mappings=lambda: 2,
            max_hold=lambda: choose(["1h", "2d"]),
            max_ttl=lambda: choose(["1h", "2h"]),
            approve=lambda: True,
        )
        who = {"who": choose([*names, "*"])}
        grants.append({"name": f"g{number}", **who, **_rule(random), **more})
    return {
        "version": 1,
        "default": choose(["deny", "deny", "ask"]),
        "mode": choose(["enforce", "enforce", "enforce", "observe"]),
        "device": {name: DEVICES[name] for name in devices},
        "group": groups,
        "zone": ZONES,
        "set": {"bots": {"file": "bots.txt"}},
        "holidays": choose(HOLIDAYS),
        "forbid": moments(forbids),
        "grant": moments(grants),
    }


def moments(rules: list[Table]) -> list[Table]:
    return [
        {**rule, **({"until": datetime.fromisoformat(rule["until"])} if "until" in rule else {})} for rule in rules
    ]


def invariant_tables(random: Random, tables: Table, kind: str) -> Table:
    """A random ``[[never]]`` or ``[[always]]`` for these tables."""
    choose, names = random.choice, [*tables["device"], *(f"@{name}" for name in tables["group"])]
    sender = _some(
        random,
        0.25 if kind == "never" else 0.4,
        device=lambda: choose(names),
        not_=lambda: choose(names),
        zone=lambda: choose(sorted(ZONES)),
        ip=lambda: choose(["192.168.1.23", "192.168.20.0/24", "2001:db8:1::/64"]),
        mac=lambda: choose(MACS),
        lan=lambda: choose(LANS),
        via=lambda: choose(["igd1", ["natpmp", "pcp"]]),
    )
    request = _some(
        random,
        0.35 if kind == "never" else 0.6,
        proto=lambda: choose(["tcp", "udp"]),
        int=lambda: choose([22, "1-1023", 2000, [22, "2000-2001"], "1024-65535"]),
        ext=lambda: choose([22, "1-1023", 2000, [22, "2000-2001"], "1024-65535"]),
        family=lambda: choose(["ip4", "ip6"]),
        for_=lambda: choose(["192.168.1.40", "192.168.1.0/24"]),
        remote=lambda: choose(["203.0.113.0/25", "198.51.100.7", "2001:db8:9::/48", "@bots", {"never": ["@bots"]}]),
        at=lambda: choose(HOURS),
    )
    table: Table = {"name": kind, "from": sender, "request": request}
    if kind == "never" and random.random() < 0.25:
        table["unless"] = _some(
            random,
            0.6,
            ext=lambda: choose(["1024-2000", "2000-65535"]),
            remote=lambda: choose(
                [["203.0.113.0/24", "2001:db8:9::/48"], ["0.0.0.0/0", "2001:db8:9::/48"], "@bots"]
            ),
            lease=lambda: choose(["1h", "2h", "2d"]),
        ) or {"lease": "1d"}
    return table


def built(tables: Table) -> Policy:
    """The policy of these tables, without running its tests or proofs."""
    return with_indexes(build_policy(tables, "random.toml", lists=LISTS))


@dataclass(frozen=True, slots=True)
class Host:
    """One end of a request."""

    mac: str | None
    lan: str
    address: IPAddress


def universe(random: Random, most: int = 250) -> Iterator[tuple[Facts, MapRequest]]:
    """Requests: a product of a few random values of each dimension, at most ``most`` of them."""
    macs = [*MACS, "02:00:00:00:00:aa", None]
    askers = [_host(random, macs) for _ in range(3)]
    pairs: list[tuple[Host, Host | None, IPAddress]] = []
    for asker in askers:
        pairs.append((asker, asker, asker.address))
        pairs.append((asker, asker, ip_address(random.choice(ADDRESSES))))
        other = _host(random, macs)
        pairs.append((asker, other, other.address))
    dimensions: list[list[Any]] = [
        random.sample(pairs, 4),
        random.sample(PORTS, 2),
        [random.choice(PORTS), random.choice(PORTS), None],
        random.sample([Transport.TCP, Transport.UDP], random.randint(1, 2)),
        random.sample([Via.IGD1, Via.IGD2, Via.NATPMP, Via.PCP], 1),
        random.sample(MINUTES, 2),
        random.sample([None, None, *REMOTE_HOSTS], 2),
        random.sample([0, 0, 443], 1),
        random.sample(WALLS, 1),
        random.sample([(None, False), ("lap", True), ("LAP", False), ("x", True), None], 1),
        [random.choice([None, None, ("guest", True), ("main", True), ("guest", False)])],
        [random.random() < 0.3],
        random.sample(DAYS, random.randint(1, 2)),
    ]
    combinations = list(itertools.product(*dimensions))
    random.shuffle(combinations)
    for combination in combinations[:most]:
        if (question := _question(*combination)) is not None:
            yield question


def _host(random: Random, macs: list[str | None]) -> Host:
    return Host(random.choice(macs), random.choice(LANS), ip_address(random.choice(ADDRESSES)))


def _question(
    pair: tuple[Host, Host, IPAddress],
    int_port: int,
    ext: int | None,
    transport: Transport,
    via: Via,
    minute: int,
    remote_text: str | None,
    remote_port: int,
    wall: float,
    lease: tuple[str | None, bool] | None,
    zone: tuple[str, bool] | None,
    pinhole4: bool,
    today: int,
) -> tuple[Facts, MapRequest] | None:
    """None: no network has such a request."""
    asker, owner, target = pair
    own = owner is asker
    device = device_id(asker.mac, asker.lan) if asker.mac else str(asker.address)
    other = device_id(owner.mac, owner.lan) if owner.mac else str(target)
    if own and (other != device or (asker.mac is None and target != asker.address)):
        return None
    if not own and (other == device or target == asker.address):
        return None
    remote = None if remote_text is None else ip_network(remote_text)
    if remote is not None and remote.version != target.version:
        return None
    exact = ext is not None and not pinhole4
    if via is Via.NATPMP and (target != asker.address or target.version == 6 or exact or remote_port):
        return None
    pinhole = pinhole4 or target.version == 6
    addresses = {"guest": (IPv4Interface("192.168.20.2/32"),), "main": (IPv4Interface("192.168.1.2/32"),)}
    inside = {} if zone is None else {asker.lan if zone[1] else owner.lan: addresses[zone[0]]}
    names = dict.fromkeys(("lan", asker.lan, owner.lan))
    lans = [Link(name, at, True, inside.get(name, ())) for at, name in enumerate(names, 2)]
    around = tuple(dict.fromkeys(ip_network(address) for address in (asker.address, target)))
    network = Network(
        Link("wan", 9, True), tuple(lans), routed=around, without_nat=frozenset(names) if pinhole else frozenset()
    )
    facts = Facts(
        device=device,
        mac=asker.mac,
        address=asker.address,
        target_device=device if own else other,
        target_mac=owner.mac,
        network=network,
        gateway_ports=GatewayPorts(),
        minute_of_day=minute,
        today=today,
        lan=asker.lan,
        target_lan=owner.lan,
        main_lan="lan",
        wall=wall,
        dhcp_name=None if lease is None else lease[0],
        lease_agrees=lease is not None and lease[1],
        restoring=lease is None,
    )
    chosen = ext is None and not pinhole
    request = MapRequest(
        via=via,
        source=Source(asker.address, asker.lan),
        transport=transport,
        internal=Endpoint(target, int_port),
        external_port=0 if chosen else int_port if pinhole or ext is None else ext,
        choice=PortChoice.SUGGESTED if chosen else PortChoice.EXACT,
        lifetime_s=366 * 86400,
        remote=remote,
        remote_port=remote_port,
        external_address=target if pinhole and target.version == 4 else None,
    )
    return facts, request
