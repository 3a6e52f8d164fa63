"""Writes the suggested policy file: the operator's own file, with its comments, and more grants.

Its mode is enforce, and grants for every device are left out: the proposed grants would have no effect beside them.
The gate decides about each proposal and each test before it is written, and the operator's tests win over evidence.
The result has been loaded like any policy file, alone and together with approved.toml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from textwrap import wrap
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from upnp_gw.gate import file_tests
from upnp_gw.gate.address_lists import NO_LISTS, AddressLists
from upnp_gw.gate.build import ManagedPolicy, build_policy
from upnp_gw.gate.builtin import home_text
from upnp_gw.gate.decision import Outcome, Verdict
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.load import load_tables
from upnp_gw.gate.managed_edit import as_tables
from upnp_gw.gate.schema import ANYONE, RESERVED_RULES, Case, Policy
from upnp_gw.gate.values import as_list
from upnp_gw.model.errors import ConfigError
from upnp_gw.suggest.grants import Plain, ProposedGrant, case_against, case_for, propose_grants
from upnp_gw.suggest.held_invariants import broken, crossing_needs
from upnp_gw.suggest.needs import Learned, PortNeed, Unused
from upnp_gw.text.escape import shown
from upnp_gw.text.toml import parse_tables

WHERE = "suggested policy"
MACHINE = "approved.toml"
MOST_AGAINST = 40
"""Most tests with want = "deny"; ``MOST_OF_ONE`` of one device."""
MOST_OF_ONE = 5
MOST_NOTES = 200
LINE = 100
LONGEST_NOTE = 600
HEADER = (
    "Suggested by upnp-gw from the traffic of mapped ports. Read it before you use it: an infected device that was"
    " patient for a few days looks here like any other. Fill in an owner for each grant, and delete each grant that"
    " you cannot explain."
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested policy. ``toml`` loads and passes its tests."""

    toml: str
    grants: int
    tests: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    """The document so far, and the notes for its end."""

    document: tomlkit.TOMLDocument
    approved: Mapping[str, Any]
    lists: AddressLists = NO_LISTS
    notes: list[str] = field(default_factory=list)

    @property
    def raw(self) -> dict[str, Any]:
        return parse_tables(tomlkit.dumps(self.document), WHERE)

    @property
    def whole(self) -> ManagedPolicy:
        """The rules of approved.toml as they are in force now."""
        return ManagedPolicy({"version": 1, **self.approved}, MACHINE)

    def policy(self, raw: Mapping[str, Any], approved: ManagedPolicy | None = None) -> Policy:
        """The policy of these tables, with the address lists."""
        return with_indexes(build_policy(raw, WHERE, approved, self.lists))

    def lasting(self) -> ManagedPolicy:
        """The rules of approved.toml that have no end."""
        kept = {kind: [r for r in self.approved.get(kind, ()) if "until" not in r] for kind in ("forbid", "grant")}
        return ManagedPolicy({"version": 1, **self.approved, **kept}, MACHINE)


def suggest_policy(
    text: str | None,
    approved: Mapping[str, Any],
    learnt: Learned,
    today: date,
    lists: AddressLists = NO_LISTS,
) -> Suggestion:
    """``text``: the operator's policy file; None: the built-in policy is in force. ``approved``: the parsed tables
    of approved.toml. ``lists``: the address lists of the file. Raises ConfigError for a mistake in one of them."""
    draft = _Draft(_opened(text), approved, lists)
    _enforce(draft)
    _drop_wide_grants(draft)
    _add_devices(draft, learnt)
    _drop_failing_tests(draft)
    _drop_failing_invariants(draft, today)
    grants = _allowed_grants(draft, _uncovered(draft, learnt.needs), learnt, today)
    raw = _with(draft.raw, grants)
    against = _against(draft, raw, learnt.unused)
    tests = [case_for(need) for grant in grants for need in grant.needs] + against
    _append(draft.document, "grant", [_commented(grant) for grant in grants])
    _append(draft.document, "test", [_table(test) for test in tests])
    notes = _cap_notes([shown(note, LONGEST_NOTE) for note in (*draft.notes, *learnt.notes)])
    whole = _comments([HEADER]) + "\n" + tomlkit.dumps(draft.document).rstrip() + "\n" + _notes_comment(notes)
    load_tables(parse_tables(whole, WHERE), WHERE, today, lists=lists)
    load_tables(parse_tables(whole, WHERE), WHERE, today, draft.whole, lists)
    return Suggestion(whole, len(grants), len(tests), notes)


# -- the operator's file


def _opened(text: str | None) -> tomlkit.TOMLDocument:
    if text is None:
        home = parse_tables(home_text(), WHERE)
        kept = {key: home[key] for key in ("version", "default", "mode", "limits")}
        document = tomlkit.parse(tomlkit.dumps(kept))
        _append(document, "forbid", [_table(rule) for rule in home["forbid"]])
        return document
    try:
        document = tomlkit.parse(text)
        as_tables(document)
        return document
    except TOMLKitError as error:
        raise ConfigError(WHERE, "", f"the policy file cannot be edited: {error}") from None


def _enforce(draft: _Draft) -> None:
    if draft.document.get("mode", "enforce") != "enforce":
        draft.document["mode"] = "enforce"


def _drop_wide_grants(draft: _Draft) -> None:
    rules = draft.document.get("grant") or []
    wide = [rule["name"] for rule in rules if ANYONE in as_list(rule.get("who", [])) and "zone" not in rule]
    for index in reversed(range(len(rules))):
        if rules[index]["name"] in wide:
            del rules[index]
    if wide and not rules:
        draft.document.remove("grant")
    draft.notes += [f"left out: grant {name}, which is for every device" for name in wide]


def _add_devices(draft: _Draft, learnt: Learned) -> None:
    """Adds the devices of approved.toml that tests will name: a test may name only devices of its own file."""
    known = draft.document.get("device") or {}
    named = {need.device for need in learnt.needs} | {
        port.device for port in learnt.unused if port.device is not None
    }
    more = {name: draft.approved.get("device", {}).get(name) for name in sorted(named)} | learnt.devices
    for name, table in more.items():
        if name in known or table is None:
            continue
        if "device" not in draft.document:
            draft.document.add("device", tomlkit.table(is_super_table=True))
        draft.document["device"][name] = _table(table)


def _drop_failing_tests(draft: _Draft) -> None:
    """Drops tests of the operator that pass only in observe mode, or because of a grant that was left out."""
    tests = draft.document.get("test") or []
    policies = draft.policy(draft.raw), draft.policy(draft.raw, draft.whole)
    tried = enumerate(zip(*(policy.cases for policy in policies), strict=True))
    for index in reversed([i for i, both in tried if not all(map(_passes, policies, both))]):
        draft.notes.append(f"left out: test {tests[index]['name']!r}, which fails now")
        del tests[index]
    if "test" in draft.document and not tests:
        draft.document.remove("test")


def _drop_failing_invariants(draft: _Draft, today: date) -> None:
    """Drops invariants of the operator that held only because of a grant that was left out."""
    results = [
        one for beside in (None, draft.whole) for one in broken(draft.policy(draft.raw, beside), WHERE, today)
    ]
    for key in ("never", "always"):
        tables = draft.document.get(key) or []
        failing = {one.proof.invariant.key for one in results}
        for index in reversed(range(len(tables))):
            if f"{key}[{index}]" in failing:
                draft.notes.append(f"left out: {key} {tables[index]['name']!r}, which fails now")
                del tables[index]
        if key in draft.document and not tables:
            draft.document.remove(key)


# -- verdicts of the gate


def _passes(policy: Policy, case: Case) -> bool:
    try:
        file_tests.check_cases(replace(policy, cases=(case,)), WHERE)
    except ConfigError:
        return False
    return True


def _verdicts(
    draft: _Draft, raw: Mapping[str, Any], tests: list[Plain], approved: ManagedPolicy | None = None
) -> list[Verdict | None]:
    """The verdict on each of these tests; None where a test has no sender address."""
    policy = draft.policy({**raw, "test": tests}, approved)
    verdicts: list[Verdict | None] = []
    for case in policy.cases:
        try:
            verdicts.append(file_tests.case_verdict(policy, case, WHERE)[0])
        except ConfigError:
            verdicts.append(None)
    return verdicts


def _allows(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.outcome is Outcome.ALLOW


def _uncovered(draft: _Draft, needs: Sequence[PortNeed]) -> list[PortNeed]:
    verdicts = _verdicts(draft, draft.raw, [case_for(need) for need in needs], draft.lasting())
    return [need for need, verdict in zip(needs, verdicts, strict=True) if not _allows(verdict)]


def _allowed_grants(draft: _Draft, needs: list[PortNeed], learnt: Learned, today: date) -> list[ProposedGrant]:
    """The grants for these needs, without those that the gate denies or that make a test of the operator fail."""
    own, names = draft.raw, _names(draft)
    while True:
        grants = propose_grants(needs, learnt.peaks, names, today)
        raw = _with(own, grants)
        refused: list[tuple[PortNeed, str]] = []
        for beside in (None, draft.whole):
            refused = refused or _refused(draft, raw, needs, beside) or _unwanted(draft, raw, grants, beside)
            refused = refused or crossing_needs(draft.policy(raw, beside), WHERE, grants, today)
        draft.notes += [f"{need.device}: {need.transport} {need.port} was used, but {why}" for need, why in refused]
        needs = [need for need in needs if all(need is not refused_need for refused_need, _ in refused)]
        if not refused:
            return grants


def _refused(
    draft: _Draft, raw: Mapping[str, Any], needs: list[PortNeed], beside: ManagedPolicy | None
) -> list[tuple[PortNeed, str]]:
    verdicts = _verdicts(draft, raw, [case_for(need) for need in needs], beside)
    return [
        (need, verdict.reasons[-1] if verdict is not None else "the gate could not be asked about it")
        for need, verdict in zip(needs, verdicts, strict=True)
        if not _allows(verdict)
    ]


def _unwanted(
    draft: _Draft, raw: Mapping[str, Any], grants: list[ProposedGrant], beside: ManagedPolicy | None
) -> list[tuple[PortNeed, str]]:
    """The needs whose grants make a test of the operator fail."""
    policy, proposals = draft.policy(raw, beside), {grant.name: grant for grant in grants}
    for case in policy.cases:
        if not _passes(policy, case):
            rule = file_tests.case_verdict(policy, case, WHERE)[0].rule
            needs = proposals[rule].needs if rule in proposals else ()
            matching = [n for n in needs if (n.transport, n.port) == (case.transport, case.int_port)] or list(needs)
            if matching:
                return [(need, f"your test {case.name!r} does not allow it") for need in matching]
    return []


def _names(draft: _Draft) -> set[str]:
    rules = [
        rule for raw in (draft.raw, draft.approved) for kind in ("grant", "forbid") for rule in raw.get(kind, ())
    ]
    return {str(rule.get("name")) for rule in rules} | RESERVED_RULES


def _against(draft: _Draft, raw: Mapping[str, Any], unused: list[Unused]) -> list[Plain]:
    """Tests that ports that were never used stay closed, with and without approved.toml."""
    chosen: list[Unused] = []
    for port in unused:
        if len(chosen) < MOST_AGAINST and sum(other.who == port.who for other in chosen) < MOST_OF_ONE:
            chosen.append(port)
    denials = [case_against(port, "deny") for port in chosen]
    alone, together = _verdicts(draft, raw, denials), _verdicts(draft, raw, denials, draft.whole)
    tests = []
    for port, first, second in zip(chosen, alone, together, strict=True):
        if first is None or second is None or _allows(first) or first.outcome is not second.outcome:
            continue
        tests.append(case_against(port, first.outcome.value))
    return tests


# -- TOML


def _with(raw: Mapping[str, Any], grants: list[ProposedGrant]) -> dict[str, Any]:
    return {**raw, "grant": [*raw.get("grant", ()), *(grant.table for grant in grants)]}


def _append(document: tomlkit.TOMLDocument, kind: str, tables: list[Table]) -> None:
    if not tables:
        return
    rules = document.get(kind)
    if not isinstance(rules, AoT):  # it may be written as an array of inline tables
        before = [_table(rule) for rule in (rules.unwrap() if rules is not None else ())]
        if rules is not None:
            document.remove(kind)
        if not tomlkit.dumps(document).endswith("\n\n"):
            document.add(tomlkit.nl())
        document.add(kind, rules := tomlkit.aot())
        tables = [*before, *tables]
    for table in tables:
        rules.append(table)


def _commented(grant: ProposedGrant) -> Table:
    table = _table(grant.table)
    for need in grant.needs if len(grant.needs) > 1 else ():
        table.add(tomlkit.comment(shown(need.why, LONGEST_NOTE)))
    table.add(tomlkit.nl())
    return table


def _table(values: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in values.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            value = inline
        table.add(key, value)
    return table


def _cap_notes(notes: Sequence[str]) -> tuple[str, ...]:
    """At most MOST_NOTES notes, and how many more there are."""
    more = len(notes) - MOST_NOTES
    return (*notes[:MOST_NOTES], f"and {more} more") if more > 0 else tuple(notes)


def _notes_comment(notes: Sequence[str]) -> str:
    return "\n" + _comments(["Left out, and why:", *(f"- {note}" for note in notes)]) if notes else ""


def _comments(sentences: Sequence[str]) -> str:
    lines = [
        line
        for sentence in sentences
        for line in wrap(sentence, LINE, subsequent_indent="  " if sentence.startswith("- ") else "")
    ]
    return "".join(f"# {line}\n" for line in lines)
