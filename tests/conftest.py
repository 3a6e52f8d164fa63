"""Set-up for all tests: the hypothesis profiles, the ``lab`` mark, the coverage list of assertions."""

import pytest

from tests.fixtures.examples import register_profiles
from tests.spec_coverage import SpecCoverage

register_profiles()


def pytest_configure(config: pytest.Config) -> None:
    options = config.option
    last_failed = getattr(options, "lf", False)  # missing with -p no:cacheprovider
    narrowed = options.keyword or options.markexpr or last_failed or config.args_source.name != "TESTPATHS"
    config.pluginmanager.register(SpecCoverage(full=not narrowed), "spec-coverage")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses a network namespace, before ``-m`` selects."""
    for item in items:
        if "namespaces" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
