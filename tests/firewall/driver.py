"""A firewall on an event loop of its own, in a host's network namespace if one is given, driven synchronously."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import Any, Generic, TypeVar

from upnp_gw.firewall.base import Change, Firewall, FirewallMode, FirewallSettings, Forward, Reading
from upnp_gw.lab import Host, Lab
from upnp_gw.model import DecisionId, Endpoint, IPAddress, Transport
from upnp_gw.network import Link, Network

F = TypeVar("F", bound=Firewall)
T = TypeVar("T")
WAIT_S = 10.0

NETWORK = Network(
    Link("wan0", 1, True),
    (Link("lan0", 2, True),),
    external=(IPv4Address("11.22.33.44"),),
)


def forward(
    forward_id: str = "m1",
    port: int = 3074,
    to: str = "192.168.77.10",
    internal_port: int | None = None,
    *,
    transport: Transport = Transport.TCP,
    remote: str | None = None,
    external: IPAddress | None = None,
    timeout_s: float = 600,
    keep: bool = True,
) -> Forward:
    return Forward(
        id=forward_id,
        decision=DecisionId("d1"),
        transport=transport,
        external_address=external,
        external_port=port,
        remote=ip_network(remote) if remote is not None else None,
        internal=Endpoint(ip_address(to), internal_port or port),
        timeout_s=timeout_s,
        keep_source_port=keep,
    )


def settings(
    mode: FirewallMode = FirewallMode.ALONGSIDE, network: Network = NETWORK, **more: Any
) -> FirewallSettings:
    return FirewallSettings(mode, network, **more)


@dataclass
class Driver(Generic[F]):
    """``do`` runs a coroutine on the loop; the rest are the four methods."""

    firewall: F
    loop: asyncio.AbstractEventLoop
    pass_time: Callable[[float], None] = time.sleep
    told: list[str] = field(default_factory=list)
    """What ``on_foreign_change`` was called with."""

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def open(self, wanted: FirewallSettings) -> None:
        self.do(self.firewall.open(wanted, self.told.append))

    def apply(self, *changes: Change) -> None:
        self.do(self.firewall.apply(changes))

    def read(self) -> Reading:
        return self.do(self.firewall.read())

    def close(self, flush: bool = False) -> None:
        self.do(self.firewall.close(flush))

    def ids(self) -> set[str]:
        return set(self.read().left_s)


@contextmanager
def driving(
    firewall: F, host: Host | None = None, pass_time: Callable[[float], None] = time.sleep
) -> Iterator[Driver[F]]:
    """The driver for the block; at its end the firewall is closed and the loop ended."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        with ExitStack() as stack:
            if host is not None:
                stack.enter_context(host.inside())
            loop.run_forever()
            loop.run_until_complete(loop.shutdown_default_executor())

    thread = threading.Thread(target=run, name="firewall-driver")
    thread.start()
    driver = Driver(firewall, loop, pass_time)
    try:
        yield driver
    finally:
        try:
            driver.close()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(WAIT_S)
            loop.close()


def until(condition: Callable[[], bool], within_s: float = WAIT_S) -> None:
    """Waits for what the kernel does by itself."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def network_of(lab: Lab) -> Network:
    """The lab's gateway as settings want it, with the addresses of its links."""
    wan = (*(f"{address}/24" for address in lab.external), f"{lab.external6}/64")
    return Network(
        _link(lab.topology.wan, 1, wan),
        tuple(
            _link(
                lan.interface, 2 + n, [f"{net[1]}/{net.prefixlen}" for net in (lan.network, lan.network6, lan.ula)]
            )
            for n, lan in enumerate(lab.topology.lans)
        ),
        external=lab.external,
    )


def _link(name: str, index: int, addresses: Iterable[str]) -> Link:
    return Link(name, index, True, tuple(map(ip_interface, (*addresses, "fe80::1/64"))))
