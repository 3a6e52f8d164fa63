"""Loads a policy file, whole or not at all (SR-30).

The steps are TOML, shape, values, names, indexes, lint, then every ``[[test]]``, ``[[never]]`` and ``[[always]]``.
The first mistake is a ``ConfigError``, and the caller keeps its old policy. Findings of lint are warnings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from upnp_gw.gate import file_tests
from upnp_gw.gate.address_lists import NO_LISTS, AddressLists
from upnp_gw.gate.build import ManagedPolicy, build_policy
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.invariant_checks import (
    InvariantResult,
    Source,
    check_invariants,
    crossing_grants,
    invariant_results,
    observe_finding,
)
from upnp_gw.gate.lint import Finding, lint, overlap_notes
from upnp_gw.gate.list_files import ListFiles
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import ConfigError
from upnp_gw.system.files import FileProblem, read_own, read_trusted
from upnp_gw.text.toml import locate_errors, not_utf8, parse_tables

LARGEST = 4 * 1024 * 1024
"""Bytes of a policy file: room for thousands of devices."""


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy that passed its tests, and the warnings about it."""

    policy: Policy
    warnings: tuple[Finding, ...]
    text: str = ""
    """The operator's file, as it was read."""
    where: str = ""
    """Its name, for messages."""
    approved: str = ""
    """The text of approved.toml; empty: there is none."""
    ended: frozenset[str] = frozenset()
    """Names of rules of approved.toml that had expired, and of those that cross a ``[[never]]``."""
    crossing: frozenset[str] = frozenset()
    """Names of grants of approved.toml that cross a ``[[never]]``: they are older than it, and have ended."""


def load_file(path: Path, today: date) -> LoadedPolicy:
    """Loads a policy file. Raises ConfigError, also where the file cannot be read."""
    return load_text(read_text(path), str(path), today, ListFiles(path.parent))


def read_text(path: Path) -> str:
    """The text of the operator's policy file. Raises ConfigError."""
    try:
        return _text(path, read_trusted(path, LARGEST))
    except FileProblem as error:
        raise ConfigError(str(path), "", error.problem) from None


def read_own_text(path: Path) -> str:
    """The text of approved.toml; empty: there is none. Raises ConfigError."""
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
    """The text of a file named on the command line; it may be a pipe. Raises ConfigError."""
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


def load_text(text: str, where: str, today: date, lists: AddressLists = NO_LISTS) -> LoadedPolicy:
    """Loads a text; ``where`` names it in errors. ``today`` decides which reviews are overdue. ``lists``: the files
    of its address lists. Raises ConfigError."""
    with locate_errors(text, where):
        return load_tables(parse_tables(text, where), where, today, lists=lists)


@dataclass(frozen=True, slots=True)
class CheckedPolicy:
    """A policy without mistakes in its tables, and the results of its tests."""

    policy: Policy
    warnings: tuple[Finding, ...]
    results: tuple[file_tests.CaseResult, ...]
    invariants: tuple[InvariantResult, ...]
    notes: tuple[Finding, ...] = ()
    """Grants that match the same requests."""
    ending: Mapping[str, Finding] = field(default_factory=dict)
    """Grants of approved.toml that a reload ends, since they cross a ``[[never]]``: name -> why."""
    conflict: ConfigError | None = None
    """A reason why approved.toml and the file cannot be loaded together."""

    @property
    def failed(self) -> tuple[file_tests.CaseResult, ...]:
        """The tests that failed, in the order of the file."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def violated(self) -> tuple[InvariantResult, ...]:
        """The invariants that do not hold or are not known to, in the order of the file."""
        return tuple(result for result in self.invariants if result.error is not None)


def check_text(
    text: str, where: str, today: date, lists: AddressLists = NO_LISTS, approved: ManagedPolicy | None = None
) -> CheckedPolicy:
    """Runs every test and every proof of a text, also after a failure. ``approved``: the rules that a reload would
    add. Raises ConfigError for a mistake in the tables."""
    with locate_errors(text, where):
        raw = parse_tables(text, where)
        checked = _checked(raw, where, today, lists)
    if approved is None or checked.failed or checked.violated:
        return checked
    ending: Mapping[str, Finding] = {}
    try:
        with locate_errors(text, where):
            ending = crossing_approved(raw, where, today, approved, lists)
            load_tables(raw, where, today, replace(approved, ended=approved.ended | ending.keys()), lists)
    except ConfigError as error:
        return replace(checked, ending=ending, conflict=error)
    return replace(checked, ending=ending)


def _checked(raw: Mapping[str, object], where: str, today: date, lists: AddressLists) -> CheckedPolicy:
    policy = with_indexes(build_policy(raw, where, lists=lists))
    invariants = tuple(invariant_results(policy, Source(raw, where), None, today))
    observed = [finding for one in invariants if (finding := observe_finding(one.proof)) is not None]
    findings = (*lint(policy, today), *observed)
    cases = tuple(file_tests.case_results(policy, where))
    return CheckedPolicy(policy, findings, cases, invariants, overlap_notes(policy, findings))


def load_tables(
    raw: Mapping[str, object],
    where: str,
    today: date,
    approved: ManagedPolicy | None = None,
    lists: AddressLists = NO_LISTS,
) -> LoadedPolicy:
    """Loads parsed tables, with those of approved.toml added. Raises ConfigError."""
    policy = with_indexes(build_policy(raw, where, approved, lists))
    findings = lint(policy, today)
    file_tests.check_cases(policy, where)
    return LoadedPolicy(policy, (*findings, *check_invariants(policy, Source(raw, where), approved, today)))


def load_over_approved(
    raw: Mapping[str, object], where: str, today: date, approved: ManagedPolicy, lists: AddressLists = NO_LISTS
) -> LoadedPolicy:
    """The same, where a new ``[[never]]`` ends the grants of approved.toml that cross it. Raises ConfigError.

    The invariants have to hold without approved.toml too: its rules may end at any time.
    """
    if not (raw.get("never") or raw.get("always")) or not (approved.raw.get("grant") or approved.raw.get("forbid")):
        return load_tables(raw, where, today, approved, lists)
    check_invariants(with_indexes(build_policy(raw, where, lists=lists)), Source(raw, where), None, today)
    try:
        return load_tables(raw, where, today, approved, lists)
    except ConfigError:
        crossing = crossing_approved(raw, where, today, approved, lists)
        if not crossing:
            raise
    ended = approved.ended | crossing.keys()
    loaded = load_tables(raw, where, today, replace(approved, ended=ended), lists)
    warnings = (*crossing.values(), *loaded.warnings)
    return replace(loaded, warnings=warnings, ended=ended, crossing=frozenset(crossing))


def crossing_approved(
    raw: Mapping[str, object], where: str, today: date, approved: ManagedPolicy, lists: AddressLists = NO_LISTS
) -> dict[str, Finding]:
    """The grants of approved.toml that cross a ``[[never]]`` of the file: name -> why. Raises ConfigError."""
    crossing: dict[str, Finding] = {}
    while True:
        left = replace(approved, ended=approved.ended | crossing.keys())
        policy = with_indexes(build_policy(raw, where, left, lists))
        found = dict(crossing_grants(policy, Source(raw, where), left, today))
        if not found:
            return crossing
        crossing |= found
