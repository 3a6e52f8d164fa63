"""Set-up for all tests: the hypothesis profiles, the ``lab`` mark, the lists at the end of a run, the workers."""

import pytest

from tests.fixtures.examples import register_profiles
from tests.skips import Skips
from tests.spec_coverage import SpecCoverage

register_profiles()


def pytest_configure(config: pytest.Config) -> None:
    options = config.option
    last_failed = getattr(options, "lf", False)  # missing with -p no:cacheprovider
    narrowed = options.keyword or options.markexpr or last_failed or config.args_source.name != "TESTPATHS"
    config.pluginmanager.register(SpecCoverage(full=not narrowed), "spec-coverage")
    config.pluginmanager.register(Skips(full=not narrowed), "skips")
    if config.pluginmanager.hasplugin("xdist"):
        from tests.workers import Workers

        config.pluginmanager.register(Workers(), "workers")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses a network namespace, before ``-m`` selects, and puts the files of the lab first.

    They are the longest: several workers end at the same time if the last files are short. After the others of the
    lab comes the file that waits for the longest time, of an ``orphan``.
    """
    for item in items:
        if "namespaces" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
    lab = {item.path for item in items if item.get_closest_marker("lab")}
    waiting = {item.path for item in items if "orphan" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (item.path not in lab, item.path in waiting))
