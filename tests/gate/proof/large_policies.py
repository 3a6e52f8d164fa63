"""Random larger policies: up to 20 devices, 40 grants and 15 forbids."""

from random import Random
from typing import Any

from tests.gate.proof.small_policies import Table, built, moments
from upnp_gw.gate.schema import Policy

ZONES = {
    "guest": ["192.168.20.0/24", "2001:db8:20::/64"],
    "main": ["192.168.1.0/24"],
    "lab": ["10.0.0.0/8", "fd00:5::/64"],
}
LANS = ("br-lan", "guest0")
ENDS = ("2030-01-01T00:00:00Z", "2031-06-01T00:00:00Z")


def large_tables(random: Random, devices: int = 20, grants: int = 40, forbids: int = 15) -> Table:
    """The tables of a random policy without invariants."""
    names = [f"device{n}" for n in range(random.randint(1, devices))]
    table = {name: _device(random, number) for number, name in enumerate(names)}
    groups = {f"group{n}": sorted(random.sample(names, random.randint(1, len(names)))) for n in range(3)}
    who = [*names, *(f"@{name}" for name in groups)]
    return {
        "version": 1,
        "default": random.choice(["deny", "ask"]),
        "device": table,
        "group": groups,
        "zone": ZONES,
        "forbid": moments([_forbid(random, who, n) for n in range(random.randint(0, forbids))]),
        "grant": moments([_grant(random, who, n) for n in range(random.randint(1, grants))]),
    }


def _device(random: Random, number: int) -> Table:
    device: Table = {"mac": [f"02:00:00:00:01:{number:02x}"]}
    if random.random() < 0.3:
        device["ip"] = [f"192.168.1.{10 + number}", f"2001:db8:1::{number + 1:x}"]
        if random.random() < 0.3:
            del device["mac"]
    if random.random() < 0.2:
        device["lan"] = random.choice([["guest0"], ["br-lan", "guest0"], "*"])
    if "mac" in device and random.random() < 0.2:
        device["dhcp_name"] = random.choice(["host-a", "HOST-A", "host-b"])
    if "mac" in device and random.random() < 0.15:
        device["assure"] = random.choice(["lease", "ip", "mac"])
    return device


def span(random: Random) -> int | str:
    low = random.choice([random.randint(1, 1100), random.randint(1, 65535)])
    return low if random.random() < 0.5 else f"{low}-{min(65535, low + random.choice([0, 1, 9, 1000, 50000]))}"


def _spans(random: Random) -> list[int | str]:
    return [span(random) for _ in range(random.randint(1, 3))]


def hours(random: Random) -> str:
    start, end = random.sample(range(0, 1440, 30), 2)
    days = random.choice(["", "", "mon-fri ", "sat-mon ", "wed "])
    return f"{days}{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


def remote(random: Random) -> Any:
    return random.choice(
        [
            ["203.0.113.0/24"],
            ["203.0.113.0/24", "2001:db8:9::/48"],
            ["198.51.100.7"],
            {"never": ["203.0.113.128/25", "2001:db8::/32"]},
            {"only": ["203.0.113.0/24", "2001:db8:9::/48"], "never": ["203.0.113.0/26"]},
        ]
    )


def _conditions(random: Random) -> Table:
    drawn: dict[str, Any] = {
        "zone": random.choice(sorted(ZONES)),
        "proto": random.choice(["tcp", "udp"]),
        "family": random.choice(["ip4", "ip6"]),
        "int_ports": _spans(random),
        "ext_ports": _spans(random),
        "until": random.choice(ENDS),
    }
    chances = {"int_ports": 0.7, "zone": 0.15, "until": 0.1, "ext_ports": 0.25}
    return {key: value for key, value in drawn.items() if random.random() < chances.get(key, 0.3)}


def _forbid(random: Random, who: list[str], number: int) -> Table:
    named = {"who": random.choice(who)} if random.random() < 0.5 else {}
    drawn: dict[str, Any] = {
        "zone": random.choice([{"from": "guest"}, {"for": "main"}, {"from": "lab", "for": "lab"}]),
        "remote": remote(random),
        "hours": hours(random),
        "via": random.choice(["igd1", ["natpmp", "pcp"]]),
    }
    more = {key: value for key, value in drawn.items() if random.random() < 0.15}
    return {"name": f"f{number}", **named, **_conditions(random), **more}


def _grant(random: Random, who: list[str], number: int) -> Table:
    drawn: dict[str, Any] = {
        "for": random.choice([["192.168.1.0/24"], ["10.1.0.0/16", "2001:db8:1::/64"]]),
        "ext": random.choice(["same", "any", "same-or-any", "40000-41000"]),
        "remote": remote(random),
        "remote_ports": [443],
        "hours": hours(random),
        "max_mappings": random.randint(1, 8),
        "max_ports_per_day": random.randint(1, 8),
        "approve": True,
    }
    more = {key: value for key, value in drawn.items() if random.random() < 0.15}
    conditions = _conditions(random)
    if str(more.get("ext", ""))[:1].isdigit():
        conditions.pop("ext_ports", None)
    return {"name": f"g{number}", "who": random.choice([*who, "*"]), **conditions, **more}


def large_invariant(random: Random, tables: Table, kind: str) -> Table:
    """A ``[[never]]`` or ``[[always]]`` that is sometimes close to what the policy does."""
    who = [*tables["device"], *(f"@{name}" for name in tables["group"])]
    sender: Table = {}
    request: Table = {}
    if random.random() < 0.5 and tables["grant"]:
        grant = random.choice(tables["grant"])
        if grant["who"] != "*":
            sender["device"] = grant["who"]
        for key, name in (("proto", "proto"), ("family", "family"), ("int_ports", "int"), ("ext_ports", "ext")):
            if key in grant:
                request[name] = grant[key]
        if "for" in grant:
            request["for"] = grant["for"]
        if "hours" in grant:
            request["at"] = grant["hours"]
        if "remote" in grant:
            request["remote"] = grant["remote"]
        if kind == "always" and "ext" not in request:
            request["ext"] = "1024-65535"
        if kind == "always" and "int" not in request:
            request["int"] = "1024-65535"
    drawn: dict[str, Any] = {
        "device": random.choice(who),
        "not": random.choice(who),
        "zone": random.choice(sorted(ZONES)),
        "ip": random.choice(["192.168.1.0/26", "2001:db8:1::/64"]),
        "via": random.choice(["igd1", ["natpmp", "pcp"]]),
    }
    sender |= {key: value for key, value in drawn.items() if random.random() < 0.15}
    asked: dict[str, Any] = {
        "proto": random.choice(["tcp", "udp"]),
        "int": _spans(random),
        "ext": _spans(random),
        "at": hours(random),
    }
    request |= {key: value for key, value in asked.items() if random.random() < (0.3 if not request else 0.1)}
    return {"name": kind, "from": sender, "request": request}


def large_policy(
    random: Random, devices: int = 200, grants: int = 300, forbids: int = 100, invariants: int = 50
) -> Policy:
    """A large office: each device has grants of its own, forbids are of groups, zones and ports; most of its
    invariants hold."""
    names = [f"device{n}" for n in range(devices)]
    groups = {f"team{n}": names[n * devices // 10 : (n + 1) * devices // 10] for n in range(10)}
    tables: Table = {
        "version": 1,
        "device": {
            name: {"mac": [f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}"]}
            | ({"ip": [f"192.168.1.{n}"]} if n % 10 == 5 and n < 255 else {})
            for n, name in enumerate(names)
        },
        "group": groups,
        "zone": ZONES,
        "grant": [
            {
                "name": f"g{n}",
                "who": names[n % devices] if n < devices else f"@team{n % 10}",
                "int_ports": [random.randint(1024, 60000), f"{20000 + 10 * n}-{20009 + 10 * n}"],
                **({"proto": "tcp"} if n % 2 else {}),
                **({"hours": "mon-fri 08:00-18:00"} if n % 7 == 0 else {}),
                **({"remote": ["203.0.113.0/24"]} if n % 5 == 0 else {}),
                **({"max_mappings": 4} if n % 3 == 0 else {}),
            }
            for n in range(grants)
        ],
        "forbid": [
            {"name": "admin", "int_ports": [22, 23, 445, 3389, 5900]},
            {"name": "guests", "zone": "guest"},
            *(
                {
                    "name": f"f{n}",
                    "who": names[2 * n % devices],
                    "int_ports": [f"{1024 + 100 * n}-{1123 + 100 * n}"],
                }
                for n in range(forbids - 2)
            ),
        ],
    }
    kinds: list[Table] = [
        {"from": {"zone": "guest"}},
        {"request": {"int": [22, 3389, 5900]}},
        *(
            {"from": {"not": f"@team{n % 10}"}, "request": {"int": f"{20000 + 10 * n}-{20009 + 10 * n}"}}
            for n in range(200, 224)
        ),
        *({"from": {"device": names[2 * n]}, "request": {"int": 1024 + 100 * n}} for n in range(1, 25)),
    ]
    tables["never"] = [{"name": f"n{n}", **kind} for n, kind in enumerate(kinds[:invariants])]
    return built(tables)
