"""The coverage list itself: it knows every numbered text, and a number without text fails its test."""

import pytest

from tests.spec_coverage import SpecCoverage, excused, known_ids

pytest_plugins = ["pytester"]


def test_every_checklist_is_read() -> None:
    ids = known_ids()
    assert {"IGD-001", "IGD-235", "SR-1", "SR-30", "PMP-001", "PCP-001"} <= ids
    assert len([i for i in ids if i.startswith("IGD")]) == 205
    assert len([i for i in ids if i.startswith("SR")]) == 42


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "workers"])
def test_the_list_is_the_same_of_any_number_of_processes(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makeini("[pytest]\nmarkers = spec(*ids): numbers\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(
        "from tests.spec_coverage import SpecCoverage\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(SpecCoverage())\n"
    )
    for name, spec_id, body in (("a", "SR-1", "pass"), ("b", "SR-2", "pass"), ("c", "SR-2", "assert False")):
        pytester.makepyfile(
            **{f"test_{name}": f"import pytest\n@pytest.mark.spec('{spec_id}')\ndef test_one(): {body}\n"}
        )
    pytester.makepyfile(test_d="import pytest\n@pytest.mark.spec('IGD-999')\ndef test_one(): pass\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    requirements = len([i for i in known_ids() if i.startswith("SR")])
    lines = ["*docs/spec has no text of IGD-999*", f"SR: 1 of {requirements} covered", "  covered: 1"]
    result.stdout.fnmatch_lines(lines)
    result.assert_outcomes(passed=2, failed=1, errors=1)


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
    run.outcomes["CAS-031"] = {"passed"}
    assert run.outdated == {"CAS-031"}
