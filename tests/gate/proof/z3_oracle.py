"""The same question in the terms of z3, written a second time from docs/policy-semantics.md: a request is a handful
of numbers, a rule a formula over them. It shares no code with the prover.

``python -m tests.gate.proof.z3_oracle --policies 2000`` compares both on random larger policies.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import z3

from tests.gate.proof.large_policies import large_invariant, large_tables
from tests.gate.proof.small_policies import Table, built
from upnp_gw.gate.decision import External
from upnp_gw.gate.hours import Hours
from upnp_gw.gate.invariant import Invariant, InvariantKind
from upnp_gw.gate.proof.prove import Prover, Standing
from upnp_gw.gate.read_invariants import read_invariant
from upnp_gw.gate.remote import RemoteHosts
from upnp_gw.gate.rules import PolicyRules
from upnp_gw.gate.schema import Assurance, Device, Family, Forbid, Grant, Policy, Zone
from upnp_gw.gate.values import KeyPath
from upnp_gw.model.mapping import IPNetwork, Via

PRIVATE = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 198.18.0.0/15 192.0.2.0/24 \
198.51.100.0/24 203.0.113.0/24"
VIAS = [Via.IGD1, Via.IGD2, Via.NATPMP, Via.PCP]
UNKNOWN_LAN, MAIN_LAN, OTHER_LAN = 0, 1, 2
"""Numbers of LANs; those that the policy names follow, each as the first LAN and as another one."""


class Address:
    """An address: a family and a number."""

    def __init__(self, name: str) -> None:
        self.six, self.number = z3.Bool(f"{name}6"), z3.BitVec(name, 128)

    def inside(self, *nets: IPNetwork) -> Any:
        return z3.Or(
            [
                z3.And(
                    self.six == (net.version == 6),
                    z3.UGE(self.number, int(net.network_address)),
                    z3.ULE(self.number, int(net.broadcast_address)),
                )
                for net in nets
            ]
        )

    def equals(self, other: "Address") -> Any:
        return z3.And(self.six == other.six, self.number == other.number)

    @property
    def valid(self) -> Any:
        return z3.Or(self.six, z3.ULT(self.number, 2**32))


def within(number: Any, spans: Iterable[tuple[int, int]]) -> Any:
    return z3.Or([z3.And(z3.UGE(number, low), z3.ULE(number, high)) for low, high in spans])


def nets(text: str) -> list[IPNetwork]:
    from ipaddress import ip_network

    return [ip_network(part) for part in text.split()]


class Encoded:
    """One policy as formulas over the numbers of one request."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.tcp, self.chosen, self.pinhole = z3.Bool("tcp"), z3.Bool("chosen"), z3.Bool("pinhole")
        self.same_address, self.other_device = z3.Bool("same_address"), z3.Bool("other_device")
        self.inner, self.outer = z3.BitVecs("int ext", 17)
        self.source, self.target, self.remote = Address("source"), Address("target"), Address("remote")
        self.remote_port, self.minute, self.via = z3.BitVecs("remote_port minute via", 17)
        self.today, self.yesterday = z3.BitVecs("today yesterday", 17)
        self.wall = z3.BitVec("wall", 64)
        self.mac, self.target_mac, self.lan, self.target_lan = z3.BitVecs("mac target_mac lan target_lan", 17)
        self.named_lease, self.agrees, self.unread = z3.BitVec("lease", 17), z3.Bool("agrees"), z3.Bool("unread")
        self.lan_in = {name: z3.Bool(f"lan_in_{name}") for name in policy.zones}
        self.target_lan_in = {name: z3.Bool(f"target_lan_in_{name}") for name in policy.zones}
        devices = policy.devices.values()
        self.macs = {mac: 2 + n for n, mac in enumerate(sorted({m for one in devices for m in one.macs}))}
        self.lans = {
            lan: 3 + 2 * n for n, lan in enumerate(sorted({x for one in devices for x in one.lans} - {"*"}))
        }
        leases = sorted({one.dhcp_name.casefold() for one in devices if one.dhcp_name})
        self.leases = {name: 2 + n for n, name in enumerate(leases)}
        self.forbid_conditions = [(rule, self.forbids(rule)) for rule in policy.forbids]

    # -- which numbers are a request

    def request(self) -> Any:
        names = len(self.macs) + 2
        return z3.And(
            within(self.inner, [(1, 65535)]),
            within(self.outer, [(0, 65535)]),
            z3.Implies(self.outer == 0, self.chosen),
            z3.Implies(self.pinhole, z3.And(self.outer == self.inner, z3.Not(self.chosen))),
            self.source.valid,
            self.target.valid,
            self.remote.valid,
            self.remote.six == self.target.six,
            z3.Implies(self.target.six, self.pinhole),
            z3.Implies(z3.Not(self.pinhole), self.target.inside(*nets(PRIVATE))),
            z3.Implies(
                z3.And(self.pinhole, z3.Not(self.target.six)),
                within(self.target.number, [(1 << 24, (127 << 24) - 1), (128 << 24, (224 << 24) - 1)]),
            ),
            z3.Implies(
                self.target.six,
                z3.And(
                    within(self.target.number, [(2**120, (0xFC << 120) - 1), (0xFE << 120, (0xFE80 << 112) - 1)]),
                ),
            ),
            within(self.remote_port, [(0, 65535)]),
            within(self.minute, [(0, 1439)]),
            z3.Or([z3.And(self.today == day, self.yesterday == (day - 1) % 7) for day in range(7)]),
            within(self.via, [(0, 3)]),
            z3.Implies(
                self.via == VIAS.index(Via.NATPMP),
                z3.And(
                    z3.Or(self.chosen, self.pinhole),
                    self.same_address,
                    z3.Not(self.target.six),
                    self.remote_port == 0,
                ),
            ),
            within(self.mac, [(0, names - 1)]),
            within(self.target_mac, [(0, names - 1)]),
            within(self.lan, [(0, 2 + 2 * len(self.lans))]),
            within(self.target_lan, [(0, 2 + 2 * len(self.lans))]),
            within(self.named_lease, [(0, len(self.leases) + 1)]),
            z3.Implies(self.same_address, z3.And(self.source.equals(self.target), z3.Not(self.other_device))),
            z3.Implies(z3.Not(self.same_address), z3.Not(self.source.equals(self.target))),
            z3.Implies(z3.Not(self.other_device), z3.And(self.target_mac == self.mac, self.target_lan == self.lan)),
            z3.Implies(z3.And(z3.Not(self.other_device), self.mac == 0), self.same_address),
            self._two_devices(),
        )

    def _two_devices(self) -> Any:
        """Two devices have not the same named MAC address on the same named LAN."""
        same_lan = z3.Or([z3.And(self._on(self.lan, lan), self._on(self.target_lan, lan)) for lan in self.lans])
        return z3.Implies(
            self.other_device, z3.Not(z3.And(z3.UGE(self.mac, 2), self.mac == self.target_mac, same_lan))
        )

    def _on(self, number: Any, lan: str) -> Any:
        return z3.Or(number == self.lans[lan], number == self.lans[lan] + 1)

    # -- devices and zones

    def is_device(self, device: Device) -> Any:
        """All facts agree."""
        conditions = []
        if device.macs:
            macs = [self.mac == self.macs[mac] for mac in device.macs]
            if device.addresses and device.assure is Assurance.IP:
                macs.append(self.mac == 0)
            conditions.append(z3.Or(macs))
        if device.addresses:
            conditions.append(self._has_address(self.source, device))
        if device.lans and "*" not in device.lans:
            conditions.append(z3.Or([self._on(self.lan, lan) for lan in device.lans]))
        elif not device.lans and device.macs:
            conditions.append(z3.Or(self.lan == MAIN_LAN, *(self.lan == n + 1 for n in self.lans.values())))
        if device.dhcp_name is not None:
            conditions.append(z3.Or(self.unread, self.named_lease == self.leases[device.dhcp_name.casefold()]))
        if device.assure is Assurance.LEASE:
            conditions.append(z3.Or(self.unread, self.agrees))
        return z3.And(conditions)

    def _has_address(self, address: Address, device: Device) -> Any:
        return z3.Or([z3.And(address.six == (a.version == 6), address.number == int(a)) for a in device.addresses])

    def may_be(self, device: Device) -> Any:
        """One fact of the requester or of the internal client is enough."""

        def end(mac: Any, address: Address, lan: Any) -> Any:
            known = z3.Or(self._has_address(address, device), *(mac == self.macs[m] for m in device.macs))
            if not device.lans or "*" in device.lans:
                return known
            return z3.And(known, z3.Or(lan == UNKNOWN_LAN, *(self._on(lan, name) for name in device.lans)))

        return z3.Or(
            end(self.mac, self.source, self.lan),
            end(self.target_mac, self.target, self.target_lan),
        )

    def any_device(self, names: Iterable[str], test: Callable[[Device], Any]) -> Any:
        return z3.Or([test(self.policy.devices[name]) for name in names if name in self.policy.devices])

    def touches(self, zone: Zone) -> Any:
        return z3.Or(self.asks_in(zone), self.leads_into(zone))

    def asks_in(self, zone: Zone) -> Any:
        return z3.Or(self.source.inside(*zone.prefixes), self.lan_in[zone.name])

    def leads_into(self, zone: Zone) -> Any:
        lan = z3.If(self.other_device, self.target_lan_in[zone.name], self.lan_in[zone.name])
        return z3.Or(self.target.inside(*zone.prefixes), lan)

    def fits(self, zone: Zone) -> Any:
        source_in, target_in = self.source.inside(*zone.prefixes), self.target.inside(*zone.prefixes)
        local = self.source.inside(*nets("169.254.0.0/16 fe80::/10"))
        unique = self.source.inside(*nets("fc00::/7"))
        kinds = {
            "ip4": z3.Not(self.source.six),
            "local": z3.And(self.source.six, unique),
            "ip6": z3.And(self.source.six, z3.Not(unique)),
        }
        has_kind = z3.And(z3.Not(local), z3.Or([kinds[scope] for scope in zone.scopes]))
        return z3.If(self.other_device, source_in, z3.And(target_in, z3.Or(source_in, z3.Not(has_kind))))

    # -- rules

    def _common(self, rule: Forbid | Grant) -> Any:
        conditions = []
        if rule.int_ports is not None:
            conditions.append(within(self.inner, rule.int_ports))
        conditions.append(z3.Or([self.tcp == (transport.value == "tcp") for transport in rule.transports]))
        conditions.append(z3.Or([self.target.six == (family is Family.IP6) for family in rule.families]))
        if rule.until is not None:
            conditions.append(z3.ULT(self.wall, int(rule.until)))
        return z3.And(conditions)

    def forbids(self, rule: Forbid) -> Any:
        """All conditions but the external port."""
        conditions = [self._common(rule)]
        if rule.devices is not None:
            conditions.append(self.any_device(rule.devices, self.may_be))
        if rule.zone is not None:
            conditions.append(self.touches(self.policy.zones[rule.zone]))
        if rule.zone_from is not None:
            conditions.append(self.asks_in(self.policy.zones[rule.zone_from]))
        if rule.zone_for is not None:
            conditions.append(self.leads_into(self.policy.zones[rule.zone_for]))
        if rule.vias is not None:
            conditions.append(z3.Or([self.via == VIAS.index(via) for via in rule.vias]))
        if rule.hours is not None:
            conditions.append(self.in_hours(rule.hours))
        return z3.And(conditions)

    def _ports_and_hosts(self, rule: Forbid, outer: Any) -> list[Any]:
        """A forbid of ports takes them away from everybody where the gateway chooses."""
        conditions = [] if rule.ext_ports is None else [within(outer, rule.ext_ports)]
        if rule.remote is not None:
            hosts = self.named(rule.remote)
            conditions.append(hosts if rule.ext_ports is None else z3.Or(self.chosen, hosts))
        return conditions

    def covers(self, rule: Grant, hours: bool = True) -> Any:
        """All conditions but the external port."""
        conditions = [self._common(rule)]
        if rule.targets:
            conditions.append(self.target.inside(*rule.targets))
        else:
            conditions.append(z3.Not(self.other_device))
        if rule.devices is not None:
            conditions.append(self.any_device(rule.devices, self.is_device))
        if rule.zone is not None:
            conditions.append(self.fits(self.policy.zones[rule.zone]))
        if rule.remote is not None:
            conditions.append(self.named(rule.remote))
        if rule.remote_ports is not None:
            conditions.append(within(self.remote_port, rule.remote_ports))
        if hours and rule.hours is not None:
            conditions.append(self.in_hours(rule.hours))
        return z3.And(conditions)

    def named(self, hosts: RemoteHosts) -> Any:
        """The remote host is in ``only`` and not in ``never``."""
        only = z3.BoolVal(True) if hosts.only is None else self.remote.inside(*hosts.only.prefixes)
        return only if hosts.never is None else z3.And(only, z3.Not(self.remote.inside(*hosts.never.prefixes)))

    def in_hours(self, hours: Hours) -> Any:
        """A window that began today, or yesterday and goes over midnight."""
        found = []
        for window in hours.windows:
            today = z3.Or([self.today == day for day in window.days])
            before = z3.Or([self.yesterday == day for day in window.days])
            if window.start < window.end:
                found.append(z3.And(today, within(self.minute, [(window.start, window.end - 1)])))
            else:
                found.append(z3.And(today, z3.UGE(self.minute, window.start)))
                found.append(z3.And(before, z3.ULT(self.minute, window.end)))
        return z3.Or(found)

    def gives(self, rule: Grant, outer: Any) -> Any:
        """The grant can give this external port."""
        listed = (
            within(outer, rule.ext_ports)
            if rule.ext_ports is not None
            else z3.Or(z3.UGE(outer, 1024), outer == self.inner)
        )
        if rule.external is External.SAME:
            return z3.And(outer != 0, listed, z3.Or(z3.Not(self.chosen), outer == self.inner))
        return z3.And(outer != 0, listed)

    def matches_any_port(self, rule: Grant) -> Any:
        """The grant can give some port, if the gateway chooses it."""
        if rule.external is not External.SAME or rule.ext_ports is None:
            return self.covers(rule, hours=False)
        return z3.And(self.covers(rule, hours=False), within(self.inner, rule.ext_ports))

    def forbidden(self, outer: Any) -> Any:
        return z3.Or(
            [z3.And(conditions, *self._ports_and_hosts(rule, outer)) for rule, conditions in self.forbid_conditions]
        )

    def asked_by_default(self) -> Any:
        if self.policy.default != "ask":
            return z3.BoolVal(False)
        exact = [
            z3.And(self.covers(rule, hours=False), self.gives(rule, self.outer)) for rule in self.policy.grants
        ]
        chosen = [self.matches_any_port(rule) for rule in self.policy.grants]
        return z3.And(
            z3.Not(self.other_device),
            z3.UGE(self.inner, 1024),
            z3.Or(z3.UGE(self.outer, 1024), self.outer == self.inner, self.outer == 0),
            z3.Not(self.forbidden(self.outer)),
            z3.If(self.chosen, z3.Not(z3.Or(chosen)), z3.Not(z3.Or(exact))),
        )

    # -- invariants

    def never(self, invariant: Invariant) -> Any:
        """The requests that violate it."""
        sender, about = invariant.sender, invariant.requested
        conditions = [
            self.request(),
            self._general(invariant),
            within(self.outer, about.ext_ports or ((0, 65535),)),
        ]
        if sender.devices is not None:
            conditions.append(self.any_device(sender.devices, self.may_be))
        if sender.excluded:
            conditions.append(z3.Not(self.any_device(sender.excluded, self.is_device)))
        if sender.zone is not None:
            conditions.append(self.touches(self.policy.zones[sender.zone]))
        if sender.addresses:
            conditions.append(z3.Or(self.source.inside(*sender.addresses), self.target.inside(*sender.addresses)))
        granted = [z3.And(self.covers(rule), self.gives(rule, self.outer)) for rule in self.policy.grants]
        through = z3.Or(z3.And(z3.Or(granted), z3.Not(self.forbidden(self.outer))), self.asked_by_default())
        return z3.And(*conditions, through)

    def always(self, invariant: Invariant) -> Any:
        """The requests that violate it."""
        sender, about = invariant.sender, invariant.requested
        conditions = [self.request(), self._general(invariant), self.outer != 0]
        for bits in (self.lan_in, self.target_lan_in):
            conditions += [z3.Not(bit) for name, bit in bits.items() if name != sender.zone]
        if sender.devices is not None:
            conditions.append(self.any_device(sender.devices, self.is_device))
        if sender.excluded:
            conditions.append(z3.Not(self.any_device(sender.excluded, self.may_be)))
        if sender.zone is not None:
            zones = self.policy.zones
            conditions.append(self.fits(zones[sender.zone]))
            anywhere = z3.Or([self.source.inside(*zone.prefixes) for zone in zones.values()])
            conditions.append(z3.Or(self.source.inside(*zones[sender.zone].prefixes), z3.Not(anywhere)))
        if sender.addresses:
            conditions.append(self.source.inside(*sender.addresses))
            if not about.targets:
                conditions.append(self.target.inside(*sender.addresses))
        if not about.targets:
            conditions.append(z3.Not(self.other_device))
        ext = about.ext_ports or ((1, 65535),)
        conditions.append(z3.Or(self.chosen, within(self.outer, ext)))

        ports = self._deciding_ports(ext)
        free = [z3.Not(self.forbidden(port)) for port in ports]
        asked = [z3.And(within(port, ext), free[at]) for at, port in enumerate(ports)]

        def some(rule: Grant, allowed: list[Any]) -> Any:
            """The grant can give one of these ports where the gateway chooses."""
            return z3.And(
                self.covers(rule),
                z3.Or([z3.And(self.gives(rule, port), allowed[at]) for at, port in enumerate(ports)]),
            )

        def exact(rule: Grant) -> Any:
            return z3.And(self.covers(rule), self.gives(rule, self.outer), z3.Not(self.forbidden(self.outer)))

        def has_room(rule: Grant) -> Any:
            """True whatever was mapped before: quotas do not count at a restart."""
            return z3.Or(self.unread, rule.max_mappings is None and rule.max_ports_per_day is None)

        plain = [rule for rule in self.policy.grants if not rule.approve]
        denied = z3.Or(
            z3.Not(z3.Or([exact(rule) for rule in plain])),
            z3.And(
                z3.Or([exact(rule) for rule in self.policy.grants if rule.approve]),
                z3.Not(z3.Or([z3.And(exact(rule), has_room(rule)) for rule in plain])),
            ),
        )
        # The first grant with room is charged; it asks, or it has none of the ports.
        wrong, earlier = [z3.Not(z3.Or([some(rule, asked) for rule in plain]))], z3.BoolVal(False)
        for rule in self.policy.grants:
            gives = z3.BoolVal(False) if rule.approve else some(rule, asked)
            wrong.append(z3.And(some(rule, free), z3.Not(gives), z3.Not(earlier)))
            earlier = z3.Or(earlier, z3.And(some(rule, free), has_room(rule)))
        fails = z3.If(self.chosen, z3.Or(wrong), denied)
        return z3.And(*conditions, fails)

    def _deciding_ports(self, ext: Iterable[tuple[int, int]]) -> list[Any]:
        """External ports of which one is given, if any can be: the internal one, and one of each piece that the
        port sets of the rules make, with a second one where the first is the internal port."""
        rules: list[Forbid | Grant] = [*self.policy.forbids, *self.policy.grants]
        spans = [*ext, (1024, 65535), *(span for rule in rules for span in rule.ext_ports or ())]
        starts = sorted({low for low, _ in spans} | {high + 1 for _, high in spans})
        return [
            self.inner,
            *(z3.BitVecVal(n + more, 17) for n in starts for more in (0, 1) if 1 <= n + more <= 65535),
        ]

    def _general(self, invariant: Invariant) -> Any:
        sender, about = invariant.sender, invariant.requested
        conditions = [z3.BoolVal(True)]
        if sender.vias is not None:
            conditions.append(z3.Or([self.via == VIAS.index(via) for via in sender.vias]))
        if about.transports is not None:
            conditions.append(z3.Or([self.tcp == (transport.value == "tcp") for transport in about.transports]))
        if about.versions:
            conditions.append(z3.Or([self.target.six == (version == 6) for version in about.versions]))
        if about.int_ports is not None:
            conditions.append(within(self.inner, about.int_ports))
        if about.targets:
            conditions.append(self.target.inside(*about.targets))
        if about.remote is not None:
            conditions.append(self.named(about.remote))
        if about.hours is not None:
            conditions.append(self.in_hours(about.hours))
        return z3.And(conditions)


def violated(policy: Policy, invariant: Invariant) -> bool:
    """The answer of z3."""
    encoded = Encoded(policy)
    solver = z3.Solver()
    kind = invariant.kind
    solver.add(encoded.never(invariant) if kind is InvariantKind.NEVER else encoded.always(invariant))
    answer = solver.check()
    assert answer != z3.unknown
    return bool(answer == z3.sat)


def check_one(seed: int, seen: Counter[str], times: dict[str, list[float]]) -> str | None:
    """Compares both on one random policy. Returns the difference; None: there is none."""
    random = Random(seed)
    tables = large_tables(random)
    policy = built(tables)
    rules = PolicyRules(policy.devices, policy.groups, policy.zones, policy.sets, "random")
    for kind in (InvariantKind.NEVER, InvariantKind.NEVER, InvariantKind.ALWAYS):
        raw: Table = large_invariant(random, tables, kind.value)
        invariant = read_invariant(raw, kind, rules, KeyPath("random"))
        started = time.perf_counter()
        proof = Prover(policy, [invariant]).proof(invariant)
        middle = time.perf_counter()
        expected = violated(policy, invariant)
        times["algebra"].append(middle - started)
        times["z3"].append(time.perf_counter() - middle)
        seen[f"{kind} {proof.standing}"] += 1
        if proof.standing is Standing.UNKNOWN or (proof.standing is Standing.VIOLATED) != expected:
            return f"seed {seed}: {raw}: {proof.standing}, by z3 {'violated' if expected else 'holds'}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seen: Counter[str] = Counter()
    times: dict[str, list[float]] = {"algebra": [], "z3": []}
    wrong = 0
    for seed in range(arguments.seed, arguments.seed + arguments.policies):
        if (difference := check_one(seed, seen, times)) is not None:
            wrong += 1
            print(difference, file=sys.stderr)
            if wrong >= 5:
                break
    counts = ", ".join(f"{key}: {count}" for key, count in sorted(seen.items()))
    print(f"{arguments.policies} policies, {sum(seen.values())} questions, {wrong} differences; {counts}")
    for name, seconds in times.items():
        ordered = sorted(seconds)
        print(f"{name}: median {ordered[len(ordered) // 2] * 1e3:.2f} ms, longest {ordered[-1] * 1e3:.0f} ms")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
