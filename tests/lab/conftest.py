"""The lab as a fixture: one for each test module, built fresh, skipped loudly where namespaces are not allowed."""

from collections.abc import Iterator

import pytest

from upnp_gw.lab import Lab, LabUnavailable, Topology, acquire


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
def lab(namespaces: None) -> Iterator[Lab]:
    """The home lab: internet, gateway, console, pc, two peers. Shared by a module's tests."""
    with Lab(Topology()) as made:
        yield made


@pytest.fixture
def fresh_lab(namespaces: None) -> Iterator[Lab]:
    """A home lab for one test alone."""
    with Lab(Topology()) as made:
        yield made
