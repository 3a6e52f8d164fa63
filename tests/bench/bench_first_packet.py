"""The first packets of flows, beside a gateway with one rule, for each kind of mapping and of network:

    python -m tests.bench.bench_first_packet [--rounds 20] [--flows 100]

Port mappings beside one dnat rule, IPv4 pinholes beside one accept rule; alongside other tables and in router mode,
with one LAN and with several. Each is in a lab of its own, and they take turns after ten flows. Prints the median
of the ratios of all rounds, and between which values it lies with 95 %. Needs root, or user namespaces, and the
program conntrack.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import messages
from tests.bench.first_packet import TCP_OPEN, UDP_IN, UDP_OUT, Way, bare_rule, measure
from tests.bench.gateways import CONTROL_PORT
from tests.bench.load import Request, datagrams_one_by_one, raise_descriptor_limit
from tests.bench.samples import Point, Table, paired
from tests.fixtures.needed_lab import need_lab
from upnp_gw.lab import GUEST, HOME, OFFICE, Lab, Topology
from upnp_gw.lab.daemon import LabDaemon

PORT = 3_074
ACCEPT = "one accept rule"
ACCEPT_TABLE = """
table ip bare {{
  chain forward {{
    type filter hook forward priority filter;
    iifname "wan0" ct state new meta l4proto {{ tcp, udp }} ip daddr {address} th dport {port} accept
  }}
}}
"""
NAT = """
[wan]
interface = "wan0"
[firewall]
mode = "{mode}"
[lan]
interfaces = [{lans}]
"""
BESIDE = """
[wan]
interface = "wan0"
[firewall]
mode = "{mode}"
[[lan]]
interfaces = [{lans}]
[[lan]]
interfaces = ["lan1"]
nat = false
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A gateway whose mapping is measured."""

    name: str
    mode: str
    topology: Topology
    config: str
    lans: tuple[str, ...]
    pinhole: bool = False
    """The mapping is of a host without NAT."""


NO_NAT = """
[wan]
interface = "wan0"
[firewall]
mode = "{mode}"
nat = false
[lan]
interfaces = [{lans}]
"""
ONE, TWO, MIXED = Topology(lans=(HOME,)), Topology(lans=(HOME, GUEST)), Topology(lans=(HOME, OFFICE))
KINDS = (
    *(Kind(f"port mapping, {mode}, one LAN", mode, ONE, NAT, ("lan0",)) for mode in ("alongside", "router")),
    *(
        Kind(f"port mapping, {mode}, two LANs", mode, TWO, NAT, ("lan0", "lan1"))
        for mode in ("alongside", "router")
    ),
    *(
        Kind(f"pinhole, {mode}, beside a LAN with NAT", mode, MIXED, BESIDE, ("lan0",), pinhole=True)
        for mode in ("alongside", "router")
    ),
    *(
        Kind(f"pinhole, {mode}, no NAT at all", mode, Topology(lans=(OFFICE,)), NO_NAT, ("lan1",), pinhole=True)
        for mode in ("alongside", "router")
    ),
)


@contextmanager
def accept_rule() -> Iterator[Way]:
    """A gateway that routes, with one rule and nothing else."""
    with Lab(MIXED) as lab:
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        host = lab.hosts["server"]
        lab.gateway.nft(ACCEPT_TABLE.format(port=PORT, address=host.address))
        yield Way(ACCEPT, lab, host, PORT, host.address)


@contextmanager
def mapped(kind: Kind, directory: Path) -> Iterator[Way]:
    """The gateway with a mapping over each transport."""
    with Lab(kind.topology) as lab:
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        config = directory / "upnp-gw.toml"
        config.write_text(kind.config.format(mode=kind.mode, lans=", ".join(f'"{lan}"' for lan in kind.lans)))
        with LabDaemon(lab.gateway, directory, "--config", str(config)):
            host = lab.hosts["server" if kind.pinhole else "pc"]
            gateway = (OFFICE if kind.pinhole else HOME).network[1]
            for udp in (False, True):
                request = Request(host, messages.natpmp_map(PORT, messages.LEASE_S, udp))
                result = datagrams_one_by_one((str(gateway), CONTROL_PORT), [request])
                assert not result.refused, (kind.name, result)
                assert not result.unanswered, kind.name
            yield Way(kind.name, lab, host, PORT, host.address if kind.pinhole else lab.external[0])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_first_packet")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--flows", type=int, default=100, help="of each transport in a round")
    given = parser.parse_args(arguments)
    need_lab()
    raise_descriptor_limit()
    table, point = Table(), Point(1, 0)
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        dnat, accept = stack.enter_context(bare_rule()), stack.enter_context(accept_rule())
        ways = [dnat, accept]
        for number, kind in enumerate(KINDS):
            directory = Path(root, str(number))
            directory.mkdir()
            ways.append(stack.enter_context(mapped(kind, directory)))
        measure(table, ways, point, given.rounds, given.flows)
    for row in (UDP_IN, UDP_OUT, TCP_OPEN):
        print(f"\n{row}: microseconds, and the ratio to the one rule (95 %)")
        for way in (dnat, accept):
            print(f"  {way.name:<45} {_median(table, way.name, row, point):6.1f}")
        for kind in KINDS:
            one = table.get(kind.name, row, point)
            other = table.get((accept if kind.pinhole else dnat).name, row, point)
            assert one is not None
            assert other is not None
            ratio = paired(one, other)
            assert ratio is not None
            print(f"  {kind.name:<45} {one.median:6.1f}  {ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
    return 0


def _median(table: Table, name: str, row: str, point: Point) -> float:
    samples = table.get(name, row, point)
    assert samples is not None
    return samples.median


if __name__ == "__main__":
    sys.exit(main())
