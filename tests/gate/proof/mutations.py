"""Thirty bugs made by hand in the algebra, each of which the oracles must catch.

``python -m tests.gate.proof.mutations`` looks for each with new random policies until one catches it; ``--seeds``
prints the table below anew. CI runs each bug against the policies that are known to catch it.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

PACKAGE = "upnp_gw.gate.proof"
ORACLES = ("tests.gate.proof.brute_force", "tests.gate.proof.z3_oracle")


class Mutation(NamedTuple):
    """A bug: this text of a module becomes another one."""

    about: str
    module: str
    text: str
    instead: str


MUTATIONS = (
    Mutation(
        "the last port of a range is lost", "spans", "out.append((start, high))", "out.append((start, high - 1))"
    ),
    Mutation(
        "a piece before another range is one too long",
        "spans",
        "out.append((start, others[here][0] - 1))",
        "out.append((start, others[here][0]))",
    ),
    Mutation(
        "adjacent ranges stay apart or overlap",
        "spans",
        "start = others[here][1] + 1",
        "start = others[here][1] + 2",
    ),
    Mutation(
        "the intersection of two ranges forgets its low end",
        "spans",
        "low, high = max(first[0][0], second[0][0])",
        "low, high = min(first[0][0], second[0][0])",
    ),
    Mutation(
        "IPv6 begins in the middle of IPv4", "spans", "else IP6_BASE + int(address)", "else int(address) % IP6_BASE"
    ),
    Mutation(
        "disjoint boxes are not noticed",
        "boxes",
        "            else:\n                return [box]",
        "            else:\n                return []",
    ),
    Mutation(
        "a box keeps what was taken away in its first dimension",
        "boxes",
        "            left = difference(rest.get(dimension, self.full[dimension]), shared[dimension])",
        "            left = rest.get(dimension, self.full[dimension])",
    ),
    Mutation(
        "only the first piece of a box is looked at",
        "boxes",
        "open_parts += ((piece, at) for piece in reversed(pieces))",
        "open_parts += ((piece, at) for piece in pieces[:1])",
    ),
    Mutation(
        "the last box that takes away is forgotten", "boxes", "while at < len(near):", "while at < len(near) - 1:"
    ),
    Mutation(
        "a dimension of the second box is forgotten",
        "boxes",
        "        if other is None:\n            out[dimension] = its",
        "        if other is None:\n            continue",
    ),
    Mutation(
        "boxes are joined that differ in two dimensions",
        "boxes",
        "if name != dimension)\n                known",
        "if name not in (dimension, 10))\n                known",
    ),
    Mutation(
        "hours over midnight end at midnight",
        "space",
        "spans = hours.minutes_of(*day.kinds[at])",
        "spans = hours.minutes_of(day.kinds[at][0], 8)",
    ),
    Mutation(
        "today and yesterday are mixed up",
        "space",
        "hours.minutes_of(*day.kinds[at])",
        "hours.minutes_of(*reversed(day.kinds[at]))",
    ),
    Mutation(
        "holidays are ordinary days",
        "days",
        "(calendar.kind(ordinal), *(calendar.kind(ordinal + more) for more in (-1,",
        "((ordinal - 1) % 7, *((ordinal + more - 1) % 7 for more in (-1,",
    ),
    Mutation(
        "a rule ends one division of time too late",
        "space",
        "return {d.TIME: (2 << self.ends.index(end)) - 1}",
        "return {d.TIME: (4 << self.ends.index(end)) - 1}",
    ),
    Mutation(
        "a device of the first LAN is recognised on every LAN",
        "space",
        "return self._lans_of(device) if device.lans else self.main_lans",
        "return self._lans_of(device) if device.lans else 2 * self.no_lan - 1",
    ),
    Mutation(
        "the DHCP lease need not agree",
        "space",
        "leases &= self.agreeing | self.unread",
        "leases &= 2 * self.unread - 1",
    ),
    Mutation(
        "a pinhole may lead to a unique local address",
        "space",
        "    (IP6_BASE + (1 << 120), IP6_BASE + (0xFC << 120) - 1),\n    (IP6_BASE + (0xFE << 120)",
        "    (IP6_BASE + (1 << 120), IP6_BASE + (0xFE << 120) - 1),\n    (IP6_BASE + (0xFE << 120)",
    ),
    Mutation(
        "a grant without external ports allows low ones",
        "rules",
        "d.EXT: grant.ext_ports or UNPRIVILEGED}]",
        "d.EXT: grant.ext_ports or ((1, 65535),)}]",
    ),
    Mutation(
        "ext = same forbids an exact other port",
        "rules",
        "other = Shape.EXACT_OTHER if grant",
        "other = Shape.CHOSEN_OTHER if grant",
    ),
    Mutation(
        "a forbid of external ports forgets equal ports",
        "rules",
        "return [{d.SHAPE: Shape.SAME, d.INT: ports}, {d.SHAPE: Shape.OTHER, d.EXT: ports}]",
        "return [{d.SHAPE: Shape.OTHER, d.EXT: ports}]",
    ),
    Mutation(
        "a grant leads to other devices",
        "rules",
        "else {d.RELATION: Relation.OWN}\n    return crossed(\n        [leads],",
        "else {d.RELATION: Relation.ALL}\n    return crossed(\n        [leads],",
    ),
    Mutation(
        "the families are mixed up",
        "rules",
        "(IP4 if family is Family.IP4 else IP6)",
        "(IP6 if family is Family.IP4 else IP4)",
    ),
    Mutation(
        "the zone of a grant is at the wrong end",
        "rules",
        "{d.RELATION: Relation.OTHER_DEVICE, d.SOURCE: inside},",
        "{d.RELATION: Relation.OTHER_DEVICE, d.TARGET: inside},",
    ),
    Mutation(
        "the zone of a forbid forgets the internal client",
        "rules",
        "return [*asking_in(space, zone), *leading_into(space, zone)]",
        "return asking_in(space, zone)",
    ),
    Mutation(
        "a LAN inside a zone does not count",
        "rules",
        "return [*asking_from(addresses_of(zone.prefixes)), {space.zone(zone.name): 2}]",
        "return asking_from(addresses_of(zone.prefixes))",
    ),
    Mutation(
        "a forbid forgets the MAC address of the internal client",
        "rules",
        "region += [{d.MAC: macs, **asks}, {d.TARGET_MAC: macs, **other}]",
        "region += [{d.MAC: macs, **asks}]",
    ),
    Mutation(
        "a device's address is not looked at",
        "rules",
        "    return crossed([known], asking_from(_numbers(device)))",
        "    return [known]",
    ),
    Mutation(
        "only and never of remote hosts are mixed up",
        "rules",
        "found = _spans[ranges] = (*four, *((IP6_BASE + low, IP6_BASE + high) for low, high in six))",
        "found = without((*IP4, *IP6), (*four, *((IP6_BASE + low, IP6_BASE + high) for low, high in six)))",
    ),
    Mutation(
        "a host without a known MAC address is any device",
        "rules",
        "unknown = space.no_mac if device.addresses and device.assure is Assurance.IP else 0",
        "unknown = space.no_mac",
    ),
    Mutation(
        "a forbid of remote hosts denies everybody",
        "rules",
        "    hosts: Box = {d.REMOTE: remote_hosts(forbid.remote)}",
        "    hosts: Box = {}",
    ),
    Mutation(
        "remote ports are not looked at", "rules", "        box[d.REMOTE_PORT] = grant.remote_ports", "        pass"
    ),
    Mutation(
        "the protocol of a forbid is not looked at",
        "rules",
        "[{}] if forbid.vias is None else [{d.VIA: of_vias(forbid.vias)}]",
        "[{}]",
    ),
    Mutation(
        "the question of the default forgets grants outside their hours",
        "answers",
        "if grant is not None and grant.hours is not None:",
        "if grant is None:",
    ),
    Mutation(
        "where the gateway chooses, a grant of other ports does not match",
        "answers",
        "            matched += rules.whatever_port(matches)",
        "            matched += crossed(matches, [{d.SHAPE: Shape.CHOSEN}])",
    ),
    Mutation(
        "an approval is a yes for an always",
        "prove",
        "allowing = [one for one in self.answers.granted if one.outcome is Outcome.ALLOW]",
        "allowing = [*self.answers.granted]",
    ),
    Mutation(
        "a grant that may be full is enough for an always",
        "prove",
        "sure = [box for one in allowing if not one.limited for box in one.region]",
        "sure = [box for one in allowing for box in one.region]",
    ),
    Mutation(
        "where the gateway chooses, a later grant is charged for its ports",
        "prove",
        "matching = self._choosable(answer, scope, ALL_PORTS)",
        "matching = self._choosable(answer, scope, ext)",
    ),
    Mutation(
        "a full grant is charged all the same",
        "prove",
        "            if answer.limited:\n                full",
        "            if False:\n                full",
    ),
    Mutation(
        "the external port of an always does not count where the gateway chooses",
        "prove",
        "giving[answer.rule] = matching if ext == ALL_PORTS else",
        "giving[answer.rule] = matching if ext else",
    ),
    Mutation(
        "a witness finds the quota of a device always empty",
        "room",
        "        yield Room(full, grant.name)",
        "        yield Room(full)",
    ),
    Mutation(
        "not means possibly not, in a never",
        "scope",
        "algebra.subtract([{}], rules.agreeing(space, policy, sender.excluded))",
        "algebra.subtract([{}], rules.touching_devices(space, policy, sender.excluded))",
    ),
    Mutation(
        "a never with a bound on leases forgets hours",
        "leases",
        "else min(last - first + 1, left - bound_s // 60)",
        "else last - first + 1",
    ),
)


class _Changed(MetaPathFinder, Loader):
    """Loads one module of the algebra with another text."""

    def __init__(self, mutation: Mutation) -> None:
        self.name = f"{PACKAGE}.{mutation.module}"
        spec = find_spec(self.name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text("utf-8")
        assert source.count(mutation.text) == 1, f"{mutation.about}: the text is not in {mutation.module} once"
        self.source = source.replace(mutation.text, mutation.instead)

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname == self.name else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, self.name, "exec"), module.__dict__)


def _of_the_proofs(name: str) -> bool:
    return name.startswith((PACKAGE, *ORACLES, "tests.gate.proof.plain_reading", "tests.gate.proof.small_policies"))


@contextmanager
def in_force(mutation: Mutation) -> Iterator[None]:
    """The algebra with the bug; afterwards it is as it was."""
    finder = _Changed(mutation)
    kept = {name: module for name, module in sys.modules.items() if _of_the_proofs(name)}
    for name in kept:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _of_the_proofs(name)]:
            del sys.modules[name]
        sys.modules.update(kept)


def caught_by(mutation: Mutation, oracle: str, seeds: range) -> int | None:
    """The first seed whose policy shows the bug; None: none of these."""
    with in_force(mutation):
        from importlib import import_module

        check_one = import_module(oracle).check_one
        for seed in seeds:
            try:
                if oracle.endswith("z3_oracle"):
                    if check_one(seed, Counter(), {"algebra": [], "z3": []}) is not None:
                        return seed
                else:
                    check_one(seed)
            except Exception:
                return seed
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=4000, help="most policies for each bug")
    parser.add_argument(
        "--z3", type=int, default=60, help="most policies for z3, where brute force does not catch it"
    )
    parser.add_argument("--seeds", action="store_true")
    arguments = parser.parse_args()
    missed = 0
    for mutation in MUTATIONS:
        seed = caught_by(mutation, ORACLES[0], range(arguments.policies))
        by = "brute force"
        if seed is None:
            seed, by = caught_by(mutation, ORACLES[1], range(arguments.z3)), "z3"
        missed += seed is None
        result = f"caught by {by}, policy {seed}" if seed is not None else "NOT CAUGHT"
        print(f'    "{mutation.about}": {seed},' if arguments.seeds else f"{mutation.about}: {result}", flush=True)
    print(f"{len(MUTATIONS) - missed} of {len(MUTATIONS)} bugs are caught", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
