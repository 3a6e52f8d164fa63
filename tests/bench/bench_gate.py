"""Microseconds a decision, with 100 grants and 1,000 devices: ``python -m tests.bench.bench_gate``."""

import timeit
from collections.abc import Callable
from datetime import date
from ipaddress import IPv4Address
from time import process_time

from tests.fixtures.policies import facts_of, map_request
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Verdict
from upnp_gw.gate.explain import explain
from upnp_gw.gate.load import load_text

ROUNDS = 500
REPEATS = 200
"""Many short rounds: the best of them is one in which nobody else had the machine."""


def policy_text() -> str:
    """1,000 devices in 40 groups of 25; every group has one or two of the 100 grants, 20 grants are for all."""
    lines = ["version = 1", 'default = "ask"']
    lines += [f'[device.d{i}]\nmac = ["02:00:00:00:{i >> 8:02x}:{i & 255:02x}"]' for i in range(1000)]
    groups = [", ".join(f'"d{i}"' for i in range(g, 1000, 40)) for g in range(40)]
    lines += ["[group]", *(f"g{g} = [{members}]" for g, members in enumerate(groups))]
    lines += ["[zone]", 'guest = ["192.168.20.0/24", "2001:db8:20::/64"]']
    lines += ['[[forbid]]\nname = "guests"\nzone = "guest"']
    lines += [f'[[forbid]]\nname = "f{i:02}"\nint_ports = [{22 + i}, {5900 + i}]' for i in range(19)]
    for i in range(100):
        who = "*" if i >= 80 else f"@g{i % 40}"
        ports = f'"{1024 + i * 100}-{1123 + i * 100}"'
        lines += [f'[[grant]]\nname = "grant{i:03}"\nwho = "{who}"\nint_ports = [{ports}]\nmax_mappings = 6']
    return "\n".join(lines)


def measured(what: str, call: Callable[[], Verdict]) -> float:
    """Microseconds of processor time of one call, in the best of many rounds."""
    best = min(timeit.repeat(call, number=ROUNDS, repeat=REPEATS, timer=process_time)) / ROUNDS * 1e6
    verdict = call()
    print(f"{what:38} {best:6.2f} us  {verdict.outcome}: {verdict.reasons[-1]}")
    return best


def main() -> None:
    start = timeit.default_timer()
    policy = load_text(policy_text(), "bench", date(2026, 1, 1)).policy
    print(f"{len(policy.grants)} grants, {len(policy.devices)} devices, {len(policy.forbids)} forbids")
    print(f"{'load':38} {(timeit.default_timer() - start) * 1e3:6.1f} ms")
    base = min(
        timeit.repeat("for i in range(100): x += i", "x = 0", number=ROUNDS, repeat=REPEATS, timer=process_time)
    )
    print(f"{'100 additions, as a measure':38} {base / ROUNDS * 1e6:6.2f} us")
    address = IPv4Address("192.168.1.23")
    named = facts_of(address, mac="02:00:00:00:00:07")
    unnamed = facts_of(address, mac="02:ff:00:00:00:07")
    for what, facts, port in (
        ("a named device, granted", named, 1024 + 701),
        ("a named device, its last grant", named, 1024 + 9901),
        ("a named device, no grant: ask", named, 60_000),
        ("an unnamed device, granted", unnamed, 1024 + 8001),
        ("an unnamed device, no grant: ask", unnamed, 60_000),
        ("forbidden", named, 5900),
    ):
        request = map_request(address, port)
        measured(what, lambda facts=facts, request=request: decide(policy, facts, request))  # type: ignore[misc]
    start = timeit.default_timer()
    for _ in range(100):
        explain(policy, named, map_request(address, 60_000))
    print(f"{'explain, every rule in words':38} {(timeit.default_timer() - start) * 1e4:6.0f} us")


if __name__ == "__main__":
    main()
