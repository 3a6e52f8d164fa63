"""The lab as a fixture: one for each test module, built fresh, skipped loudly where namespaces are not allowed."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, pinhole, served_home
from tests.lab.office import served_office
from upnp_gw.lab import Lab, LabUnavailable, Topology, acquire
from upnp_gw.lab.probe import EchoServer, OpenConnection, dial
from upnp_gw.protocols.igd_services import IgdVersion


def _unavailable() -> str:
    try:
        acquire()
    except LabUnavailable as problem:
        return str(problem)
    return ""


# at import: an ordinary user's process can only become root of a user namespace while it has one thread
UNAVAILABLE = _unavailable()


def pytest_report_header() -> str | None:
    return f"LAB TESTS ARE SKIPPED: {UNAVAILABLE}" if UNAVAILABLE else None


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where no namespace can be made; for tests that build a lab of their own."""
    if UNAVAILABLE:
        pytest.skip(f"no lab: {UNAVAILABLE}")


@pytest.fixture(scope="module")
def topology() -> Topology:
    """The home: internet, gateway, console, pc, two peers. A module that needs other hosts has its own."""
    return Topology()


@pytest.fixture(scope="module")
def lab(namespaces: None, topology: Topology) -> Iterator[Lab]:
    """A lab that the tests of a module share."""
    with Lab(topology) as lab:
        yield lab


@pytest.fixture
def fresh_lab(namespaces: None, topology: Topology) -> Iterator[Lab]:
    """A lab for one test alone."""
    with Lab(topology) as lab:
        yield lab


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A served home in router mode for the tests of a module. A module that needs another one has its own."""
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER) as home:
        yield home


@pytest.fixture
def home(module_home: Home) -> Iterator[Home]:
    """The shared home; each test leaves it as it was found, and kernel and ledger in agreement."""
    yield module_home
    module_home.agree()
    module_home.clear()


@dataclass(frozen=True, slots=True)
class Orphan:
    """A home whose daemon was killed with mappings and pinholes in the kernel: port 8080 for three seconds (TCP and
    UDP), port 8081 for an hour (TCP). Beside it is an office without NAT, whose server has the same."""

    home: Home
    killed_at: float
    """Monotonic seconds."""
    calls: list[OpenConnection]
    """Live flows through 8080, over both transports and address families, to both hosts."""
    longer: list[OpenConnection]
    """And through 8081, over both address families, to both hosts."""

    def left(self, after_s: float) -> float:
        """Seconds from now to so many after the kill, at least one."""
        return max(1.0, self.killed_at + after_s - time.monotonic())


@pytest.fixture(scope="session")
def orphan(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orphan]:
    with served_office(tmp_path_factory.mktemp("d"), *ROUTER) as office, ExitStack() as stack:
        home = office.home
        calls: dict[int, list[OpenConnection]] = {8080: [], 8081: []}
        hosts = ((home.console, home.external), (office.server, office.server.address))
        for transport, port, lease_s in ((TCP, 8081, 3600), (TCP, 8080, 3), (UDP, 8080, 3)):
            for host, external in hosts:
                point = home.point(host.name, IgdVersion.IGD2)
                point.add(port, transport, NewLeaseDuration=lease_s)
                pinhole(point, port, Protocol=transport.number, LeaseTime=lease_s)
                stack.enter_context(EchoServer(host, transport, port))
                calls[port] += [
                    stack.enter_context(dial(home.peer, transport, address, port))
                    for address in (external, host.address6)
                ]
        assert all(call.ask() for several in calls.values() for call in several)
        home.daemon.kill()
        yield Orphan(home, time.monotonic(), calls[8080], calls[8081])


@pytest.fixture(scope="session", autouse=True)
def orphaned_early(request: pytest.FixtureRequest) -> None:
    """The kernel's grace is minutes long: whoever asks for the orphan late in the run finds it old enough."""
    if not UNAVAILABLE and any("orphan" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("orphan")
