"""The coverage list itself: it knows every numbered text, and a dangling number fails the run."""

import pytest

from tests.spec_coverage import SpecCoverage, excused, known_ids

pytest_plugins = ["pytester"]


def test_every_checklist_is_read() -> None:
    ids = known_ids()
    assert {"IGD-001", "IGD-235", "SR-1", "SR-30", "PMP-001", "PCP-001"} <= ids
    assert len([i for i in ids if i.startswith("IGD")]) == 205
    assert len([i for i in ids if i.startswith("SR")]) == 38


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


def test_every_excuse_is_of_an_assertion_and_has_a_reason() -> None:
    assert set(excused()) <= known_ids()
    assert all(len(reason) > 10 for reason in excused().values())
    assert excused()["PCP-150"] == "PEER is answered UNSUPP_OPCODE"


def test_a_full_run_fails_where_the_list_of_excuses_is_not_the_truth() -> None:
    run = SpecCoverage(full=True)
    run.outcomes = {spec_id: {"passed"} for spec_id in known_ids() - excused().keys() - {"IGD-110"}}
    assert run.unexplained == {"IGD-110"}
    run.outcomes["IGD-110"] = {"passed"}
    assert run.unexplained == run.outdated == set()
    run.outcomes["CAS-001"] = {"passed"}
    assert run.outdated == {"CAS-001"}
