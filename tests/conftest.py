"""Set-up that every test shares: the coverage list of assertions."""

import pytest

from tests.spec_coverage import SpecCoverage


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SpecCoverage(), "spec-coverage")
