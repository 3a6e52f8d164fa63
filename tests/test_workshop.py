"""The files for hosted checks and for hooks run what the test command runs, and fetch nothing of their own."""

import re

from tests import ROOT

TEST_COMMAND = (ROOT / "tests" / "run.sh").read_text("utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")


def test_each_hook_is_a_check_of_the_test_command_and_runs_from_the_virtual_environment() -> None:
    hooks = re.findall(r"entry: \.venv/bin/([\w-]+)(?: (format|check))?", HOOKS)
    assert len(hooks) == HOOKS.count("- id:") == HOOKS.count("language: system") == 4
    for program, command in hooks:
        assert f'"$VENV/bin/{program}"{f" {command}" if command else ""}' in TEST_COMMAND
    assert re.findall(r"repo: (.*)", HOOKS) == ["local"]


def test_the_hosted_checks_run_the_test_command_on_every_system_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "Debian 12, Debian 13 or Ubuntu 24.04" in readme
    jobs = re.split(r"^  (?=\w+:$)", WORKFLOW.partition("\njobs:\n")[2], flags=re.MULTILINE)[1:]
    site = [job for job in jobs if job.startswith("site:")]
    assert len(jobs) == 4
    assert all("./tests/run.sh" in job for job in jobs if job not in site)
    assert ["./docs/build.sh --check" in job for job in site] == [True]
    systems = set(re.findall(r"debian:1\d|ubuntu-24\.04", WORKFLOW))
    assert systems == {"debian:12", "debian:13", "ubuntu-24.04"}
    assert "http" not in WORKFLOW
