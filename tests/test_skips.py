"""A test that is skipped on a CI machine fails the run, unless its reason is listed."""

import pytest

from tests.skips import ALLOWED, Skips

pytest_plugins = ["pytester"]

SKIPPED = """
import pytest
@pytest.mark.skipif(True, reason={reason!r})
def test_one(): pass
def test_two(): pytest.skip({reason!r})
def test_three(): pass
@pytest.mark.xfail
def test_four(): assert False
"""


@pytest.mark.parametrize(
    ("reason", "ci", "full", "code"),
    [
        ("tshark is not installed", "true", True, pytest.ExitCode.TESTS_FAILED),
        (f"{ALLOWED[0]}: and more", "true", True, pytest.ExitCode.OK),
        ("tshark is not installed", "", True, pytest.ExitCode.OK),
        ("tshark is not installed", "true", False, pytest.ExitCode.OK),
    ],
    ids=["unlisted", "listed", "no CI", "a selection"],
)
def test_an_unlisted_skip_fails_a_full_run_on_ci(
    reason: str,
    ci: str,
    full: bool,
    code: pytest.ExitCode,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(SKIPPED.format(reason=reason))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", plugins=[skips := Skips(full)])
    assert result.ret == code
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    assert len(skips.unlisted) == (0 if reason.startswith(ALLOWED) else 2)
    if code:
        result.stdout.fnmatch_lines(["*AND NOT LISTED*", f"*test_one: {reason}", f"*test_two: {reason}"])
