"""The lab of tests/lab for the tests of the firewall, and both firewalls behind one driver."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.fixtures.firewall_driver import Driver, driving
from tests.fixtures.lab_firewall import Gateway, gateway_of
from tests.lab.conftest import fresh_lab, lab, namespaces, topology
from upnp_gw.firewall import libnftables as library
from upnp_gw.firewall.base import Firewall, FirewallMode
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.firewall.nftables import NftablesFirewall, Writing
from upnp_gw.lab import Host, Lab

__all__ = ["any_firewall", "fresh_lab", "gateway", "lab", "namespaces", "opened_on", "router", "topology"]

OpenedOn = Callable[[Lab, FirewallMode], AbstractContextManager[Gateway]]


@pytest.fixture
def opened_on() -> OpenedOn:
    """Opens the real firewall on the gateway of a lab. A module that needs other settings has its own."""
    return gateway_of


@pytest.fixture(params=list(FirewallMode))
def gateway(fresh_lab: Lab, opened_on: OpenedOn, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """The real firewall on the gateway of a fresh lab, in each mode in turn."""
    with opened_on(fresh_lab, request.param) as gateway:
        yield gateway


@pytest.fixture
def router(fresh_lab: Lab, opened_on: OpenedOn) -> Iterator[Gateway]:
    """The same in router mode alone."""
    with opened_on(fresh_lab, FirewallMode.ROUTER) as gateway:
        yield gateway


REAL = ("netlink", "bindings", "loader")


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.lab) for name in REAL)])
def any_firewall(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver[Firewall]]:
    """Each firewall in turn, not yet open; the real one in an empty network namespace.

    The real one with netlink messages of our own, then through libnftables: by the distribution's Python bindings,
    and by our own loader of the library.
    """
    if request.param == "memory":
        now = [1000.0]

        def pass_time(seconds: float) -> None:
            now[0] += seconds

        memory: Firewall = MemoryFirewall(lambda: now[0])
        with driving(memory, None, pass_time) as driver:
            yield driver
        return
    request.getfixturevalue("namespaces")
    writing = Writing.NETLINK if request.param == "netlink" else Writing.LIBNFTABLES
    if request.param == "loader":
        monkeypatch.setattr(library, "load_library", library.LoadedLibrary)
    else:
        assert library.find_bindings() is not None, "Debian: apt install python3-nftables"
    host = Host("bare")
    try:
        real: Firewall = NftablesFirewall(writing=writing)
        with driving(real, host) as driver:
            yield driver
    finally:
        host.close()
