"""The coverage list itself: it knows every numbered text, and a dangling number fails the run."""

import pytest

from tests.spec_coverage import known_ids

pytest_plugins = ["pytester"]


def test_every_checklist_is_read() -> None:
    ids = known_ids()
    assert {"IGD-001", "IGD-235", "SR-1", "SR-30", "PMP-001", "PCP-001"} <= ids
    assert len([i for i in ids if i.startswith("IGD")]) == 199
    assert len([i for i in ids if i.startswith("SR")]) == 30


def test_a_number_without_text_fails_the_collection(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers = spec(*ids): numbers\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(
        "from tests.spec_coverage import SpecCoverage\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(SpecCoverage())\n"
    )
    pytester.makepyfile("import pytest\n@pytest.mark.spec('IGD-999')\ndef test_one(): pass\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*IGD-999*"])
