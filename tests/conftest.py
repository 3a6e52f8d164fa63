"""Set-up that every test shares: the coverage list of assertions."""

import pytest

from tests.spec_coverage import SpecCoverage


def pytest_configure(config: pytest.Config) -> None:
    asked = config.option
    last_failed = getattr(asked, "lf", False)  # without pytest's cache there is no such option
    narrowed = asked.keyword or asked.markexpr or last_failed or config.args_source.name != "TESTPATHS"
    config.pluginmanager.register(SpecCoverage(full=not narrowed), "spec-coverage")
