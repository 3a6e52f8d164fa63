"""The accepted values of each key of the policy file, in words, with an example. Nothing here checks a value.

The examples are lines of a policy file; a test loads each of them.
"""

import re
from collections.abc import Mapping

NAMES = 'one name, "@group", "*", or a list of names'
PORTS = "a list of ports 1 to 65535, and of ranges in quotes"
TIME = "a number and s, m, h, d or w, from 1s to 366d, or as many seconds"
PREFIXES = "a list of addresses or prefixes without host bits"
HOSTS = 'a list of addresses, prefixes without host bits and "@list"'
HOURS = (
    "HH:MM-HH:MM, where the two times differ, with days before it or alone, such as mon-fri,holidays; or a list"
    " of these"
)
SOME_PREFIXES = "an address or a prefix without host bits, or a list of them"
SOME_PORTS = "a port 1 to 65535, a range in quotes, or a list of both"
COUNT = "a number 1 to 65535"
MOMENT = "a time with its offset, of the years 1 to 9999 in UTC"
TEXT = "a text"
PROTO = '"tcp", "udp" or a list of both'
FAMILY = '"ip4", "ip6" or a list of both'
FREE_NAME = "1 to 40 letters, digits, dots, dashes and underscores, a letter or digit first"

WHO, PORT_LIST = '["ps5", "@consoles"]', '[443, "8000-8010"]'
UNTIL = "2027-05-01T12:00:00Z"

NAMED = "consoles"
"""An example of a name that the operator chooses."""

Keys = Mapping[str, tuple[str, str]]
"""Key -> its accepted values, and an example of a value as TOML."""

_RULE: Keys = {
    "name": (FREE_NAME, '"console-games"'),
    "who": (NAMES, WHO),
    "zone": ("the name of a zone of this file", '"guest"'),
    "family": (FAMILY, '"ip4"'),
    "proto": (PROTO, '["tcp", "udp"]'),
    "int_ports": (PORTS, PORT_LIST),
    "ext_ports": (PORTS, PORT_LIST),
    "remote": (f"{HOSTS}, or a table of only and never", '["203.0.113.0/24"]'),
    "hours": (HOURS, '"mon-fri 06:00-23:00"'),
    "until": (MOMENT, UNTIL),
    "owner": (TEXT, '"Anna"'),
    "reason": (TEXT, '"games of the children"'),
}
_INVARIANT: Keys = {
    "name": (TEXT, '"guests open nothing"'),
    "from": ("a table", '{ zone = "guest" }'),
    "request": ("a table", "{ int = [22, 3389] }"),
    "owner": (TEXT, '"Anna"'),
    "reason": (TEXT, '"the security guideline"'),
}
ACCEPTED: Mapping[str, Keys] = {
    "": {
        "version": ("1", "1"),
        "default": ('"deny" or "ask"', '"deny"'),
        "mode": ('"enforce" or "observe"', '"enforce"'),
        "limits": ("a table", "{ per_device = 32 }"),
        "device": ("a table for each device", '{ ps5 = { mac = ["ac:89:95:00:00:01"] } }'),
        "group": ("a table of lists", '{ consoles = ["ps5", "xbox"] }'),
        "zone": ("a table of lists", '{ guest = ["192.168.20.0/24"] }'),
        "set": ("a table for each address list", '{ office = { file = "office.txt" } }'),
        "holidays": ('a list of dates, and of "MM-DD" for every year', '[2026-12-25, "01-01"]'),
        "forbid": ("a table for each rule: [[forbid]]", '[{ name = "no-smb", int_ports = [445] }]'),
        "grant": ("a table for each rule: [[grant]]", '[{ name = "home", who = "*" }]'),
        "test": (
            "a table for each test: [[test]]",
            '[{ name = "no-ssh", from = { ip = "192.168.1.77" }, request = { proto = "tcp", int = 22 }, '
            'want = "deny" }]',
        ),
        "never": ("a table for each: [[never]]", '[{ name = "no-rdp", request = { int = 3389 } }]'),
        "always": (
            "a table for each: [[always]]",
            '[{ name = "nas-seeds", from = { ip = "192.168.1.5" }, request = { int = 51413, ext = 51413 } }]',
        ),
    },
    "limits": {
        "total_mappings": (COUNT, "1024"),
        "per_device": (COUNT, "32"),
        "elements_per_device": (COUNT, "128"),
        "requests_per_minute": ("a number 1 to 6000", "60"),
        "max_ttl": (TIME, '"24h"'),
        "max_hold": (TIME, '"30d"'),
        "incident_after": ("a number 1 to 1000", "12"),
        "on_incident": ('"freeze", "quarantine" or "log"', '"freeze"'),
    },
    "device": {
        "mac": ("a MAC address, or a list of them", '["ac:89:95:00:00:01"]'),
        "ip": ("an IPv4 or IPv6 address without a zone, or a list of them", '["192.168.1.40"]'),
        "lan": ('a LAN interface of the gateway, "*" for any, or a list of them', '"br-lan"'),
        "dhcp_name": ("the host name of its DHCP lease", '"PS5-lounge"'),
        "assure": ('"ip", "mac" or "lease"', '"mac"'),
    },
    "group": {"*": ("a list of devices of this file", '["ps5", "xbox"]')},
    "zone": {"*": (PREFIXES, '["192.168.20.0/24"]')},
    "set": {
        "file": ("the name of a file, relative to the policy file", '"office.txt"'),
        "format": ('"plain" or "json"', '"plain"'),
        "max_age": (TIME, '"7d"'),
    },
    "remote": {
        "only": (HOSTS, '["@office", "203.0.113.0/24"]'),
        "never": (HOSTS, '["@blocklist"]'),
    },
    "forbid": {
        **_RULE,
        "zone": ("the name of a zone of this file, or a table of from and for", '"guest"'),
        "via": ('"igd1", "igd2", "natpmp", "pcp", or a list of these', '["natpmp", "pcp"]'),
    },
    "zones": {
        "from": ("the name of a zone of this file", '"guest"'),
        "for": ("the name of a zone of this file", '"guest"'),
    },
    "grant": {
        **_RULE,
        "for": (PREFIXES, '["10.0.40.0/28"]'),
        "ext": ('"same", "same-or-any", "any", or a range', '"40000-40100"'),
        "max_mappings": (COUNT, "8"),
        "max_ports_per_day": ("a number 1 to 1024", "20"),
        "max_ttl": (TIME, '"4h"'),
        "max_hold": (TIME, '"30d"'),
        "remote_ports": (PORTS, PORT_LIST),
        "approve": ("true or false", "true"),
        "approve_for": (TIME, '"30d"'),
        "review_by": ("a date", "2027-05-01"),
    },
    "test": {
        "name": (TEXT, '"no-ssh"'),
        "from": ("a table", '{ device = "ps5" }'),
        "request": ("a table", '{ proto = "tcp", int = 8080, ext = 8080 }'),
        "want": ('"allow", "deny", "ask" or "busy"', '"allow"'),
        "ttl": (TIME, '"4h"'),
        "rule": ("the name of a rule", '"console-games"'),
        "ext": ("a port 1 to 65535, a range in quotes, or a list of both", "8080"),
        "remote": (f"{HOSTS}, or a table of only and never", '["203.0.113.0/24"]'),
        "at": ('"HH:MM", with a day or a date before it', '"2026-12-25 12:30"'),
        "busy": (PORTS, PORT_LIST),
        "stale": ('"@set" of this file that has a max_age, or a list of them', '["@blocklist"]'),
    },
    "from": {
        "device": ("a device of this file", '"ps5"'),
        "ip": ("an IPv4 or IPv6 address without a zone", '"192.168.1.77"'),
        "mac": ("a MAC address", '"ac:89:95:00:00:01"'),
        "lan": ("a LAN interface of the gateway", '"br-lan"'),
        "zone": ("the name of a zone of this file", '"guest"'),
        "nat": ("true or false", "false"),
        "via": ('"igd1", "igd2", "natpmp", "pcp" or "operator"', '"igd1"'),
        "holds": ("a number 0 to 65535", "3"),
        "frozen": ("true or false", "true"),
    },
    "request": {
        "proto": ('"tcp" or "udp"', '"tcp"'),
        "int": ("a port 1 to 65535", "8080"),
        "ext": ("a port 1 to 65535", "8080"),
        "ttl": (TIME, '"4h"'),
        "family": ('"ip4" or "ip6"', '"ip4"'),
        "for": ("an IPv4 or IPv6 address without a zone", '"192.168.1.40"'),
        "remote": ("an address or a prefix without host bits", '"203.0.113.7"'),
        "remote_port": ("a port 1 to 65535", "443"),
    },
    "never": {
        **_INVARIANT,
        "unless": ("a table of ext, remote and lease", '{ lease = "24h" }'),
    },
    "always": _INVARIANT,
    "sender": {
        "device": (NAMES, '"nas"'),
        "not": ('a device, "@group", or a list of these', '"@consoles"'),
        "zone": ("the name of a zone of this file", '"guest"'),
        "ip": (SOME_PREFIXES, '"192.168.1.0/24"'),
        "mac": ("a MAC address", '"ac:89:95:00:00:01"'),
        "lan": ("a LAN interface of the gateway", '"br-lan"'),
        "via": ('"igd1", "igd2", "natpmp", "pcp" or a list of them', '["natpmp", "pcp"]'),
    },
    "requested": {
        "proto": (PROTO, '"tcp"'),
        "int": (SOME_PORTS, "[22, 3389]"),
        "ext": (SOME_PORTS, '"1024-3999"'),
        "family": (FAMILY, '"ip4"'),
        "for": (SOME_PREFIXES, '"10.0.40.0/28"'),
        "remote": (f"{HOSTS}, or a table of only and never", '["203.0.113.0/24"]'),
        "at": (HOURS, '"22:00-06:00"'),
    },
    "unless": {
        "ext": (SOME_PORTS, '"40000-40999"'),
        "remote": (f"{HOSTS}, or a table of only and never", '["203.0.113.0/24"]'),
        "lease": (TIME, '"24h"'),
    },
}
"""Table of the policy file -> its keys. ``*``: any key."""

_INNER = {"from": "sender", "request": "requested", "unless": "unless"}
"""Key of a ``[[never]]`` or ``[[always]]`` -> the table that it is."""
_INDEX = re.compile(r"(\[[^\]]*\])+$")


def accepted_value(path: str) -> tuple[str, str]:
    """(what a key path such as ``grant[2].int_ports[0]`` accepts, an example line). Empty texts for a table."""
    table, key = _table_and_key(path)
    keys = ACCEPTED.get(table, {})
    value = keys.get(key) or keys.get("*")
    if value is None:
        return "", ""
    accepted, example = value
    return accepted, f"{key if key in keys else NAMED} = {example}"


def format_example(line: str) -> str:
    """The end of a message that has an example; empty where there is none."""
    return f", such as {line}" if line else ""


def _table_and_key(path: str) -> tuple[str, str]:
    first, _, rest = _INDEX.sub("", path).partition(".")
    table = _INDEX.sub("", first)
    if not rest:
        return "", table
    if table in ("device", "set"):  # names may have dots
        name, _, key = rest.rpartition(".")
        return (table, key) if name else ("", table)
    if table == "test" and rest.partition(".")[0] in ("from", "request") and "." in rest:
        table, _, rest = rest.partition(".")
    if rest.startswith("remote.") and table in ("forbid", "grant", "test"):
        table, rest = "remote", rest.removeprefix("remote.")
    if rest.startswith("zone.") and table == "forbid":
        table, rest = "zones", rest.removeprefix("zone.")
    if table in ("never", "always") and rest.partition(".")[0] in _INNER and "." in rest:
        outer, _, rest = rest.partition(".")
        table = _INNER[outer]
    if rest.startswith("remote.") and table in ("requested", "unless"):
        table, rest = "remote", rest.removeprefix("remote.")
    return table, rest
