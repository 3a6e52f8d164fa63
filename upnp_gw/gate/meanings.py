"""The meaning of each key of the policy file, and its value if it is left out. Manual and site are made of it.

``accepted`` has the accepted values. docs/policy-semantics.md says how rules decide together.
"""

from collections.abc import Mapping

Meanings = Mapping[str, tuple[str, str]]
"""Key -> its value if it is left out, in words (empty: it must be there), and its meaning."""

NONE = "none"
_UNPRIVILEGED = "1024 to 65535"

_RULE: Meanings = {
    "name": ("", "The name of the rule, in lists and in the log. No other rule has it."),
    "family": ("both", "Address families: ip4 is port mappings, and pinholes without NAT; ip6 is pinholes."),
    "proto": ("both", "Transports."),
    "until": ("never", "The end of the rule, and of its mappings."),
    "owner": (NONE, "A person to ask about the rule. It decides nothing."),
    "reason": (NONE, "The reason for the rule. It decides nothing; explain and the page show it."),
}

_INVARIANT: Meanings = {
    "name": ("", "The name, for messages."),
    "from": ("anyone", "The requesters: a table, below."),
    "request": ("any", "The requests: a table, below."),
    "owner": (NONE, "A person to ask about it. It decides nothing."),
    "reason": (NONE, "The reason for it. It decides nothing."),
}

TABLES: Mapping[str, tuple[str, str]] = {
    "": ("Top level", "The keys before the first table."),
    "limits": ("[limits]", "They apply whatever the grants say. None of them changes the floor."),
    "device": (
        "[device.NAME]",
        "A named device. For a grant all its facts must agree, for a forbid one is enough. Without lan it is a"
        " device of the gateway's first LAN.",
    ),
    "group": ("[group]", "Lists of devices. A rule names a group as @NAME."),
    "zone": ("[zone]", "Named sets of prefixes."),
    "set": (
        "[set.NAME]",
        "A list of remote hosts in a file of its own. A rule names it as @NAME. The gateway loads it again when the"
        " file changes.",
    ),
    "remote": (
        "remote of a rule or a [[test]], as a table",
        "The hosts of only that are not in never. A list in place of the table means only.",
    ),
    "forbid": ("[[forbid]]", "Denies what it matches. No grant overrides it."),
    "zones": ("zone of a [[forbid]], as a table", "Both ends of a mapping."),
    "grant": (
        "[[grant]]",
        "Allows what it matches, within its quotas and the limits. If several match, the first by name decides;"
        " grants that need approval come last.",
    ),
    "test": ("[[test]]", "A request and its expected answer. A file that fails one of its tests is not loaded."),
    "from": ("from of a [[test]]", "The requester. A named device has all its facts."),
    "request": ("request of a [[test]]", "The request."),
    "never": (
        "[[never]]",
        "No request of this kind is ever allowed or asked about. What is left out means any. A file that lets one"
        " through is not loaded.",
    ),
    "always": (
        "[[always]]",
        "Every request of this kind is allowed, while its grants have room. What is left out means any.",
    ),
    "sender": (
        "from of a [[never]] or [[always]]",
        "The requesters. In a [[never]] one fact of a device is enough, of the requester or of the internal client;"
        " in an [[always]] all facts of the requester must agree.",
    ),
    "requested": ("request of a [[never]] or [[always]]", "The requests."),
    "unless": ("unless of a [[never]]", "A mapping within all of these bounds is none that it excludes."),
}
"""Table -> its heading, and its meaning. The order is that of the manual."""

MEANINGS: Mapping[str, Meanings] = {
    "": {
        "version": ("", "The version of this format."),
        "default": ("deny", "The answer if no grant matches. ask: refused, and the operator is asked."),
        "mode": (
            "enforce",
            "observe: a request without a grant is allowed and marked. Floor, forbids and limits apply.",
        ),
        "limits": ("the defaults below", "Limits for all devices."),
        "device": (NONE, "Named devices."),
        "group": (NONE, "Groups of devices."),
        "zone": (NONE, "Named sets of prefixes."),
        "set": (NONE, "Address lists in files."),
        "holidays": (NONE, "Days that count as no day of the week in hours."),
        "forbid": (NONE, "Rules that deny."),
        "grant": (NONE, "Rules that allow."),
        "test": (NONE, "Requests with their expected answers."),
        "never": (NONE, "Requests that nobody ever gets an answer but no to."),
        "always": (NONE, "Requests that are always allowed."),
    },
    "limits": {
        "total_mappings": (
            "1024",
            "Mappings of all devices, and the size of the kernel's maps. Each address counts.",
        ),
        "per_device": ("32", "Mappings of one device at a time."),
        "elements_per_device": (
            "four times per_device",
            "Elements of the kernel's maps of one device: one for each address and each remote host or prefix.",
        ),
        "requests_per_minute": ("60", "Requests of one device for a change. Reads do not count."),
        "max_ttl": ("24h", "The longest lease over PCP and NAT-PMP; over UPnP, the time to the next decision."),
        "max_hold": ("30d", "The longest life of a UPnP mapping without a new request."),
        "incident_after": (
            "12",
            "Different internal ports refused to one device in 10 minutes that make an incident.",
        ),
        "on_incident": (
            "freeze",
            "freeze: the device opens nothing new. quarantine: its mappings end too. log: a line in the log.",
        ),
    },
    "device": {
        "mac": (NONE, "Its MAC addresses. They identify it over IPv4 and IPv6."),
        "ip": (NONE, "Its addresses. Without mac they alone identify it."),
        "lan": ("the first LAN", 'LAN interfaces that it may be on, "*" for any. Only with mac or ip.'),
        "dhcp_name": (NONE, "The name in its DHCP lease. Only with mac or ip."),
        "assure": (
            "mac, or ip without a mac",
            "The evidence for it. ip: its address; mac: also its MAC address; lease: also its DHCP lease.",
        ),
    },
    "group": {"*": (NONE, "A group and its members.")},
    "zone": {"*": (NONE, "A zone and its prefixes.")},
    "set": {
        "file": ("", "The file of the list."),
        "format": ("json for a name that ends with .json, else plain", "plain: one entry a line. json: a list."),
        "max_age": (
            "no limit",
            "Age of the file from which on it is out of date: what is new and depends on it is refused, and leases"
            " run out.",
        ),
    },
    "remote": {
        "only": ("every host", "These remote hosts."),
        "never": ("nobody", "These not, even if only has them."),
    },
    "zones": {
        "from": ("any", "Zone of the requester."),
        "for": ("any", "Zone of the internal client."),
    },
    "forbid": {
        **_RULE,
        "who": ("any device", "Devices that it denies."),
        "zone": ("any", "Applies to the requester and to the internal client, if one of them is in the zone."),
        "int_ports": ("all", "Internal ports."),
        "ext_ports": (
            "all",
            "External ports. A request that insists on one of them is denied; where the gateway chooses, it chooses"
            " another one.",
        ),
        "via": ("any", "Protocols of the request."),
        "remote": (
            "everybody",
            "Remote hosts. A request that names one of them is denied; from any other mapping they are kept out.",
        ),
        "hours": ("always", "Local time, as in a grant. Mappings that it denies end when its hours begin."),
    },
    "grant": {
        **_RULE,
        "family": ("both, or those of for and remote", _RULE["family"][1]),
        "who": ("with zone: any device in it", "Devices that it allows."),
        "zone": ("any", "Applies to the internal client; with for, to the requester."),
        "int_ports": (_UNPRIVILEGED, "Internal ports. One below 1024 must be named."),
        "ext_ports": (
            f"{_UNPRIVILEGED}, and the internal port",
            "External ports. A pinhole has only its internal port.",
        ),
        "ext": (
            "same-or-any",
            "The external port where the protocol lets the gateway choose: same as the internal one, any, or one of"
            " a range.",
        ),
        "for": ("the requester", "Prefixes of internal clients to which the device may open ports."),
        "remote": ("anyone", "Remote hosts that may connect. Those of the request must be among them."),
        "remote_ports": ("any", "Ports of the remote hosts. The request must name some, all among these."),
        "hours": (
            "always",
            "Local time; may cross midnight. A day is the one on which it begins. Mappings and flows end with it.",
        ),
        "max_mappings": ("the limits", "Mappings of each device at a time."),
        "max_ports_per_day": ("no limit", "Different internal ports of each device in a day."),
        "max_ttl": ("that of [limits]", "The longest lease, as in [limits]."),
        "max_hold": ("that of [limits]", "The longest life of a UPnP mapping without a new request."),
        "approve": ("false", "The operator is asked about each new mapping."),
        "approve_for": ("30d", "The longest time for which an approval lasts."),
        "review_by": (NONE, "A day to look at the rule again. It decides nothing; policy check warns after it."),
    },
    "test": {
        "name": ("", "The name of the test, for messages."),
        "from": ("", "The requester: a table, below."),
        "request": ("", "The request: a table, below."),
        "want": ("", "The expected answer."),
        "ttl": ("not checked", "The expected lease."),
        "rule": ("not checked", "The rule that is expected to decide."),
        "ext": ("not checked", "The external ports of which it gets one."),
        "remote": ("not checked", "All remote hosts that may connect."),
        "at": ("12:00 on a Monday", "The local time of the request."),
        "busy": (NONE, "External ports that another device has."),
        "stale": (NONE, "Address lists that are out of date."),
    },
    "from": {
        "device": (NONE, "A named device. It has all its facts, on its own LAN or the gateway's first."),
        "ip": (NONE, "An address."),
        "mac": (NONE, "A MAC address."),
        "lan": ("that of the device, or the first", "The LAN that it asks from."),
        "zone": (NONE, "An address in this zone."),
        "nat": ("true for a private address of the internal client", "The LAN has NAT."),
        "via": ("igd1", "The protocol, or the operator."),
        "holds": ("0", "Mappings that it has already."),
        "frozen": ("false", "An incident is open for it."),
    },
    "request": {
        "proto": ("", "Transport."),
        "int": ("", "Internal port."),
        "ext": (NONE, "External port."),
        "ttl": ("the longest", "Lease."),
        "family": ("that of the address, or ip4", "A port mapping or a pinhole."),
        "for": ("the requester", "The internal client."),
        "remote": ("anyone", "The remote host or prefix."),
        "remote_port": ("any", "The port of the remote host."),
    },
    "never": {**_INVARIANT, "unless": (NONE, "Bounds of mappings that it does not exclude: a table, below.")},
    "always": _INVARIANT,
    "sender": {
        "device": ("anyone", "Devices."),
        "not": ("nobody", "Not these devices: in a [[never]] everybody who is not surely one of them."),
        "zone": ("any", "Requests that a rule with this zone matches."),
        "ip": ("any", "Addresses."),
        "mac": ("any", "A MAC address."),
        "lan": ("any", "The LAN that it asks from."),
        "via": ("any", "Protocols."),
    },
    "requested": {
        "proto": ("both", "Transports."),
        "int": ("any", "Internal ports."),
        "ext": ("any", "External ports that it asks for, or that the gateway gives it."),
        "family": ("both", "Port mappings or pinholes."),
        "for": ("any", "Internal clients. In an [[always]] left out: the requester."),
        "remote": ("any", "Remote hosts that could connect; in an [[always]] those that the request names."),
        "at": ("any", "Local time; may cross midnight."),
    },
    "unless": {
        "ext": ("any", "Its external port is one of these."),
        "remote": ("anyone", "Only these remote hosts can connect."),
        "lease": ("any", "Its lease is not longer."),
    },
}
"""Table of the policy file -> its keys. ``*``: any key."""
