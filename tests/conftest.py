"""Set-up for all tests: the hypothesis profiles, the ``lab`` mark, the lists at the end of a run, the workers."""

import signal

import pytest

import upnp_gw
from tests import ROOT
from tests.fixtures.examples import register_profiles
from tests.fixtures.wheel import built_release, installed_wheel, release_tree
from tests.skips import Skips
from tests.spec_coverage import SpecCoverage

__all__ = ["built_release", "installed_wheel", "release_tree"]

register_profiles()
upnp_gw.RELEASE = "0.1.0"  # before a module reads it: recorded answers have this version


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell starts a background job so, and Ctrl-C would end no program of a test
        signal.signal(signal.SIGINT, signal.default_int_handler)
    options = config.option
    last_failed = getattr(options, "lf", False)  # missing with -p no:cacheprovider
    narrowed = options.keyword or options.markexpr or last_failed or config.args_source.name != "TESTPATHS"
    config.pluginmanager.register(SpecCoverage(full=not narrowed), "spec-coverage")
    config.pluginmanager.register(Skips(full=not narrowed), "skips")
    if config.pluginmanager.hasplugin("xdist"):
        from tests.workers import Workers

        config.pluginmanager.register(Workers(), "workers")


LONG = frozenset(
    ROOT / "tests" / name
    for name in (
        "config/test_error_messages.py",
        "engine/test_constant_work.py",
        "engine/test_frozen_over_restarts.py",
        "engine/test_refresh.py",
        "store/test_missing_history.py",
        "testing/test_examples.py",
        "text/test_any_toml.py",
    )
)
"""Files without the lab that take more than five seconds."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses a network namespace, before ``-m`` selects. Puts long files first.

    Several workers end at the same time if the last files are short. After the others of the lab comes the file
    that waits for the longest time, of an ``orphan``.
    """
    lab, waiting = set(), set()
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "namespaces" in names:
            item.add_marker(pytest.mark.lab)
        if item.get_closest_marker("lab"):
            lab.add(item.path)
        if "orphan" in names:
            waiting.add(item.path)

    def place(item: pytest.Item) -> int:
        if item.path in waiting:
            return 1
        return 0 if item.path in lab else 2 if item.path in LONG else 3

    items.sort(key=place)
