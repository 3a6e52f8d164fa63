"""From the text of a policy file to a policy in force: all of it or none (SR-30).

TOML, shape, values, names, lint, index, then every ``[[test]]``. The first thing that is wrong is a ``ConfigError``
and the caller keeps what it had. Findings of lint that close something rather than open it are warnings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from upnp_gw.gate import file_tests as cases
from upnp_gw.gate.build import ManagedPolicy, build
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.lint import Finding, lint
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import ConfigError
from upnp_gw.system.files import FileProblem, read_own, read_trusted
from upnp_gw.text.toml import locate_errors, not_utf8, parse_tables

LARGEST = 4 * 1024 * 1024
"""Bytes of a policy file: thousands of devices, and no accident that fills the memory."""


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy that may come into force, and what its author should look at."""

    policy: Policy
    warnings: tuple[Finding, ...]
    text: str = ""
    """The operator's file, as it was read."""
    approved: str = ""
    """The machine-owned file; empty: there is none."""
    ended: frozenset[str] = frozenset()
    """Names of rules of the machine-owned file that had expired."""


def load_file(path: Path, today: date) -> LoadedPolicy:
    """Reads a policy file. Raises ConfigError, a file that cannot be read among its causes."""
    return load_text(read_text(path), str(path), today)


def read_text(path: Path) -> str:
    """The text of the operator's policy file. Raises ConfigError."""
    try:
        return _text(path, read_trusted(path, LARGEST))
    except FileProblem as error:
        raise ConfigError(str(path), "", error.problem) from None


def read_own_text(path: Path) -> str:
    """The text of the machine-owned policy file; empty: there is none. Raises ConfigError."""
    try:
        data = read_own(path, LARGEST)
    except FileProblem as error:
        if error.missing:
            return ""
        raise ConfigError(str(path), "", error.problem) from None
    if not data:
        problem = "is empty, so its rules are lost; put a copy back, or remove the file"
        raise ConfigError(str(path), "", problem)
    return _text(path, data)


def read_named_text(path: Path) -> str:
    """The text of a file that somebody at a terminal named: a pipe is read to its end. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise ConfigError(str(path), "", f"larger than {LARGEST} bytes")
    return _text(path, data)


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(str(path), data, error.start) from None


def load_text(text: str, where: str, today: date) -> LoadedPolicy:
    """The same for a text; ``where`` names it in errors. ``today`` is for reviews that are overdue."""
    with locate_errors(text, where):
        return load_tables(parse_tables(text, where), where, today)


@dataclass(frozen=True, slots=True)
class CheckedPolicy:
    """A policy with sound tables, and how its tests came out."""

    policy: Policy
    warnings: tuple[Finding, ...]
    results: tuple[cases.CaseResult, ...]

    @property
    def failed(self) -> tuple[cases.CaseResult, ...]:
        return tuple(result for result in self.results if not result.passed)


def check_text(text: str, where: str, today: date) -> CheckedPolicy:
    """Every test of a text, those that fail too. Raises ConfigError where the tables are not sound."""
    with locate_errors(text, where):
        policy = with_indexes(build(parse_tables(text, where), where))
        return CheckedPolicy(policy, lint(policy, today), tuple(cases.case_results(policy, where)))


def load_tables(
    raw: Mapping[str, object], where: str, today: date, approved: ManagedPolicy | None = None
) -> LoadedPolicy:
    """The policy of parsed tables, those that the operator's commands wrote added. Raises ConfigError."""
    policy = with_indexes(build(raw, where, approved))
    findings = lint(policy, today)
    cases.check_cases(policy, where)
    return LoadedPolicy(policy, findings)
