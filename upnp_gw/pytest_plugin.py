"""The pytest plugin: fixture ``igd``, a router for one test. The emulator is loaded when a test uses it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from upnp_gw.testing import Emulator


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "igd(**options): options of the router of the fixture igd")


@pytest.fixture
def igd(request: pytest.FixtureRequest) -> "Iterator[Emulator]":
    """A router on the loopback, for this test alone. ``@pytest.mark.igd(nat=False)`` gives it options."""
    from upnp_gw.testing import Emulator

    marker = request.node.get_closest_marker("igd")
    with Emulator(**(marker.kwargs if marker else {})) as emulator:
        yield emulator
