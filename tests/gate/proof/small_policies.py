"""Random small policies with invariants, and small universes of requests around their edges."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from ipaddress import IPv4Interface, ip_address, ip_network
from random import Random
from typing import Any

from tests.fixtures.address_lists import ListsInMemory
from upnp_gw.gate.build import build_policy
from upnp_gw.gate.decision import Facts
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.schema import Policy
from upnp_gw.model.device import device_id
from upnp_gw.model.mapping import Endpoint, IPAddress, IPNetwork, Transport, Via
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.request import MapRequest, PortChoice, Source

Table = dict[str, Any]
Question = tuple[Facts, MapRequest]
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
    *("fri 23:00-06:00", ["mon 22:00-12:01", "holidays 12:00-06:00"], "sat,holidays 00:00-24:00"),
)
OTHER_HOURS = {"06:00-13:00": "13:00-06:00", "23:00-06:00": "06:00-23:00", "13:00-24:00": "00:00-13:00"}
"""Hours -> all others."""
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


def _rule(random: Random, chance: float) -> Table:
    choose = random.choice
    return _some(
        random,
        chance,
        zone=lambda: choose(sorted(ZONES)),
        proto=lambda: choose(["tcp", "udp"]),
        family=lambda: choose(["ip4", "ip6"]),
        int_ports=lambda: random.sample(SPANS, random.randint(1, 2)),
        ext_ports=lambda: random.sample(SPANS, random.randint(1, 2)),
        until=lambda: choose(ENDS),
    )


def policy_tables(random: Random) -> Table:
    """The tables of a random policy, without invariants: of a few rules with one or two conditions each, so that
    a single condition decides, or of more, or of forbids that overlap."""
    style = random.choice(["plain", "plain", "plain", "overlapping", "full", "full"])
    if style == "overlapping":
        return _overlapping(random)
    plain = style == "plain"
    devices = random.sample(sorted(DEVICES), random.randint(1, 4))
    groups = {name: [one for one in members if one in devices] for name, members in GROUPS.items()}
    names = [*devices, *(f"@{name}" for name in groups)]
    choose = random.choice
    forbids = []
    for number in range(random.randint(0, 2 if plain else 3)):
        who = {"who": choose(names)} if random.random() < 0.5 else {}
        more = _some(
            random,
            0.15 if plain else 0.25,
            zone=lambda: choose([{"from": "guest"}, {"for": "main"}, {"from": "main", "for": "guest"}]),
            remote=lambda: choose(REMOTES),
            hours=lambda: choose(HOURS),
            via=lambda: choose(["igd1", ["natpmp", "pcp"]]),
        )
        forbids.append({"name": f"f{number}", **who, **_rule(random, 0.2 if plain else 0.3), **more})
    grants = []
    for number in range(random.randint(1, 2) if plain else random.randint(0, 3)):
        more = _some(
            random,
            0.12 if plain else 0.25,
            for_=lambda: choose([["192.168.1.40/32"], ["192.168.0.0/16"], ["2001:db8:1::/64"]]),
            ext=lambda: choose(["same", "any"]),
            remote=lambda: choose(REMOTES),
            remote_ports=lambda: [choose([443, "400-500"])],
            hours=lambda: choose(HOURS),
            max_mappings=lambda: 2,
            max_ports_per_day=lambda: choose([2, 3]),
            max_hold=lambda: choose(["1h", "2d"]),
            max_ttl=lambda: choose(["1h", "2h"]),
            approve=lambda: True,
        )
        who = {"who": choose([*names, "*"])}
        grants.append({"name": f"g{number}", **who, **_rule(random, 0.2 if plain else 0.3), **more})
    return {
        "version": 1,
        "default": choose(["deny", "deny", "ask"]),
        "mode": choose(["enforce", "enforce", "enforce", "observe"]),
        "limits": choose([{}, {}, {"max_ttl": "3d"}]),
        "device": {name: DEVICES[name] for name in devices},
        "group": groups,
        "zone": ZONES,
        "set": {"bots": {"file": "bots.txt"}},
        "holidays": choose(HOLIDAYS),
        "forbid": moments(forbids),
        "grant": moments(grants),
    }


def _overlapping(random: Random) -> Table:
    """One grant, and forbids that each take a part of it away: little or nothing is left."""
    choose = random.choice

    def parts(number: int) -> Table:
        conditions = _some(
            random,
            0.5,
            proto=lambda: choose(["tcp", "udp"]),
            int_ports=lambda: [choose([2000, 2001, "1024-2000", "2001-65535", "2000-2001"])],
            hours=lambda: choose(["06:00-13:00", "13:00-06:00", "mon-fri", "sat,sun,holidays"]),
            via=lambda: choose([["igd1", "igd2"], ["natpmp", "pcp"]]),
            family=lambda: choose(["ip4", "ip6"]),
        )
        return {"name": f"f{number}", **conditions} if conditions else {"name": f"f{number}", "who": "@all"}

    devices = random.sample(sorted(DEVICES), 2)
    grant: Table = {"name": "g", "who": choose(["*", "*", devices[0]])}
    grant |= _some(
        random,
        0.3,
        int_ports=lambda: [choose(["2000-2001", "1024-2001", 2000])],
        proto=lambda: "udp",
        max_mappings=lambda: 2,
    )
    return {
        "version": 1,
        "default": choose(["deny", "deny", "ask"]),
        "device": {name: DEVICES[name] for name in devices},
        "group": {"all": devices},
        "zone": ZONES,
        "set": {"bots": {"file": "bots.txt"}},
        "holidays": choose(HOLIDAYS),
        "forbid": [parts(number) for number in range(random.randint(1, 4))],
        "grant": [grant],
    }


def moments(rules: list[Table]) -> list[Table]:
    return [
        {**rule, **({"until": datetime.fromisoformat(rule["until"])} if "until" in rule else {})} for rule in rules
    ]


def invariant_tables(random: Random, tables: Table, kind: str) -> Table:
    """A random ``[[never]]`` or ``[[always]]`` for these tables, often one about just what a grant allows."""
    choose, names = random.choice, [*tables["device"], *(f"@{name}" for name in tables["group"])]
    near = random.random() < 0.5
    sender = _some(
        random,
        0.1 if near else 0.25 if kind == "never" else 0.4,
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
        0.15 if near else 0.35 if kind == "never" else 0.6,
        proto=lambda: choose(["tcp", "udp"]),
        int=lambda: choose([22, "1-1023", 2000, "2000-2001", [22, "2000-2001"], "1024-65535"]),
        ext=lambda: choose([22, "1-1023", 2000, [22, "2000-2001"], "1024-65535"]),
        family=lambda: choose(["ip4", "ip6"]),
        for_=lambda: choose(["192.168.1.40", "192.168.1.0/24", "fd00::/64"]),
        remote=lambda: choose(["203.0.113.0/25", "198.51.100.7", "2001:db8:9::/48", "@bots", {"never": ["@bots"]}]),
        at=lambda: choose(HOURS),
    )
    if near and kind == "never" and tables["forbid"] and random.random() < 0.4:
        _like_a_forbid(choose(tables["forbid"]), sender, request)
    elif near and tables["grant"]:
        _like_a_grant(random, choose(tables["grant"]), sender, request, 0.6 if kind == "never" else 1)
    table: Table = {"name": kind, "from": sender, "request": request}
    if kind == "never" and random.random() < 0.25:
        table["unless"] = _some(
            random,
            0.6,
            ext=lambda: choose(["1024-2000", "2000-65535"]),
            remote=lambda: choose(
                [["203.0.113.0/24", "2001:db8:9::/48"], ["0.0.0.0/0", "2001:db8:9::/48"], "@bots"]
            ),
            lease=lambda: choose(["1h", "2h", "10h", "1d", "2d"]),
        ) or {"lease": "1d"}
    return table


def _like_a_grant(random: Random, grant: Table, sender: Table, request: Table, chance: float) -> None:
    """Takes conditions of a grant over, each with this chance."""
    if grant["who"] != "*":
        sender["device"] = grant["who"]
    if "zone" in grant:
        sender["zone"] = grant["zone"]
    request.setdefault("int", "1024-65535")
    request.setdefault("ext", "1024-65535")
    pairs = {"int_ports": "int", "ext_ports": "ext", "hours": "at"} | {
        key: key for key in ("proto", "family", "for")
    }
    for key, name in (pairs | {"remote": "remote"}).items():
        if key in grant and random.random() < chance:
            request[name] = grant[key]
    if random.random() < 0.3 and (hours := str(grant.get("hours"))) in OTHER_HOURS:
        request["at"] = OTHER_HOURS[hours]


def _like_a_forbid(forbid: Table, sender: Table, request: Table) -> None:
    """The requests that a forbid denies, and nearly no others."""
    for key, name in {"who": "device", "zone": "zone", "via": "via"}.items():
        if isinstance(forbid.get(key), str | list):
            sender[name] = forbid[key]
    names = {"int_ports": "int", "ext_ports": "ext", "hours": "at"}
    for key, name in (names | {key: key for key in ("proto", "family", "remote")}).items():
        if key in forbid:
            request[name] = forbid[key]


def built(tables: Table) -> Policy:
    """The policy of these tables, without running its tests or proofs."""
    return with_indexes(build_policy(tables, "random.toml", lists=LISTS))


@dataclass(frozen=True, slots=True)
class Host:
    """One end of a request."""

    mac: str | None
    lan: str
    address: IPAddress


def universe(random: Random, devices: dict[str, Table] | None = None, most: int = 250) -> Iterator[Question]:
    """Requests: a product of a few random values of each dimension, at most ``most`` of them. ``devices``: of the
    policy; some hosts are these."""
    macs = [*MACS, "02:00:00:00:00:aa", None]
    named = [*(devices or {}).values()]
    askers = [_host(random, macs, named) for _ in range(3)]
    pairs: list[tuple[Host, Host, IPAddress]] = []
    for asker in askers:
        pairs.append((asker, asker, asker.address))
        pairs.append((asker, asker, _address(random.choice(ADDRESSES))))
        other = _host(random, macs, named)
        pairs.append((asker, other, other.address))
    real = [pair for pair in pairs if _is_pair(*pair)]
    dimensions: list[list[Any]] = [
        random.sample(real, min(4, len(real))),
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


def _host(random: Random, macs: list[str | None], named: list[Table]) -> Host:
    if named and random.random() < 0.5:
        device = random.choice(named)
        mac = random.choice(device.get("mac", [None]))
        lan = random.choice([lan for lan in device.get("lan", ["lan"]) if lan != "*"] or ["lan"])
        return Host(mac, lan, _address(random.choice(device.get("ip", ["192.168.1.23", *ADDRESSES]))))
    return Host(random.choice(macs), random.choice(LANS), _address(random.choice(ADDRESSES)))


_address = lru_cache(ip_address)
_network_of = lru_cache(ip_network)


def _identifier(host: Host, address: IPAddress) -> str:
    return device_id(host.mac, host.lan) if host.mac else str(address)


def _is_pair(asker: Host, owner: Host, target: IPAddress) -> bool:
    """One device with one or two addresses, or two devices with different ones."""
    device, other = _identifier(asker, asker.address), _identifier(owner, target)
    return other == device if owner is asker else other != device and target != asker.address


@lru_cache(maxsize=1024)
def _network(
    asker_lan: str,
    owner_lan: str,
    zone: tuple[str, bool] | None,
    source: IPAddress,
    target: IPAddress,
    pinhole: bool,
) -> Network:
    """A gateway that has both hosts on its LANs, and an address in the zone on one of them."""
    addresses = {"guest": (IPv4Interface("192.168.20.2/32"),), "main": (IPv4Interface("192.168.1.2/32"),)}
    inside = {} if zone is None else {asker_lan if zone[1] else owner_lan: addresses[zone[0]]}
    names = dict.fromkeys(("lan", asker_lan, owner_lan))
    lans = [Link(name, at, True, inside.get(name, ())) for at, name in enumerate(names, 2)]
    around: tuple[IPNetwork, ...] = tuple(dict.fromkeys(ip_network(address) for address in (source, target)))
    without_nat = frozenset(names) if pinhole else frozenset[str]()
    return Network(Link("wan", 9, True), tuple(lans), routed=around, without_nat=without_nat)


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
) -> Question | None:
    """None: no network has such a request."""
    asker, owner, target = pair
    own = owner is asker
    device, other = _identifier(asker, asker.address), _identifier(owner, target)
    remote = None if remote_text is None else _network_of(remote_text)
    if remote is not None and remote.version != target.version:
        return None
    exact = ext is not None and not pinhole4
    if via is Via.NATPMP and (target != asker.address or target.version == 6 or exact or remote_port):
        return None
    pinhole = pinhole4 or target.version == 6
    network = _network(asker.lan, owner.lan, zone, asker.address, target, pinhole)
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
