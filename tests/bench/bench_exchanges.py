"""The cost of the evidence of use for each packet. By hand: ``python -m tests.bench.bench_exchanges``.

One rule costs less than the noise of a send. So each is put into the chain ``TIMES`` times, and the difference is
divided. A send over veth runs the whole way through the gateway to the other host's socket, so its time is the
packet's; the least of many rounds is shown, since others use the machine too.
"""

import socket
import time
from collections.abc import Callable

from tests.fixtures.firewall_driver import forward
from tests.fixtures.lab_firewall import gateway_of
from upnp_gw.firewall.base import FirewallMode, Open
from upnp_gw.firewall.nftables import exchanges
from upnp_gw.lab import Lab, acquire
from upnp_gw.model.mapping import Transport

ROUNDS = 30
PACKETS = 2_000
TIMES = 200
TABLE = "inet upnp_gw"


def each_ns(send: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    for _ in range(PACKETS):
        send()
    return (time.perf_counter_ns() - start) / PACKETS


def let_through(lab: Lab, *rules: str) -> None:
    """The chain that every packet of a mapping's flows ends in."""
    lines = [f"add rule {TABLE} {exchanges.LET_THROUGH} {rule}\n" for rule in (*rules, "accept")]
    lab.gateway.nft(f"flush chain {TABLE} {exchanges.LET_THROUGH}\n{''.join(lines)}")


def main() -> None:
    acquire()
    with Lab() as lab, gateway_of(lab, FirewallMode.ROUTER) as gateway:
        console, peer, outside = lab.hosts["console"], lab.hosts["peer1"], str(lab.external[0])
        gateway.apply(Open(forward("m1", 3074, str(console.address), transport=Transport.UDP)))
        with console.inside():
            inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            inner.bind(("", 3074))
        with peer.inside():
            outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            outer.connect((outside, 3074))
        outer.send(b"?")
        _, back = inner.recvfrom(10)
        inner.sendto(b"!", back)
        lookup = exchanges.exchange_rules()[exchanges.LET_THROUGH][0]
        note = [
            rule
            for rule in exchanges.exchange_rules()["remember_exchange"]
            if "17 update" in rule and "6 {" not in rule
        ]
        cases: dict[str, tuple[Callable[[], object], str]] = {
            "a packet in: the look": (lambda: outer.send(b"x"), lookup),
            "an answer: the look": (lambda: inner.sendto(b"x", back), lookup),
            "a first answer: the endpoint": (lambda: inner.sendto(b"x", back), note[0]),
            "a first answer: endpoint and remote host": (lambda: inner.sendto(b"x", back), note[1]),
        }
        best = {name: [float("inf"), float("inf")] for name in cases}
        for _ in range(ROUNDS):
            for name, (send, rule) in cases.items():
                for place, times in enumerate((0, TIMES)):
                    let_through(lab, *[rule] * times)
                    best[name][place] = min(best[name][place], each_ns(send))
        for name, (none, many) in best.items():
            print(f"{name:42} {(many - none) / TIMES:6.1f} ns, of {none / 1000:.1f} us a packet")


if __name__ == "__main__":
    main()
