"""Splits a decision into the part that it shares with others and its own values, and joins them again. Pure.

Most of a decision repeats: requester, rule, policy, most facts, the words of the reasons. ``Shared`` holds that,
once for many decisions. ``OwnValues`` are the rest: times, ports, counts, the numbers in the reasons. Nothing is
lost: ``record_of`` gives back the same record, whichever values were taken to be shared.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from upnp_gw.model.records import DecisionRecord

OWN_FACTS = frozenset(
    {
        "minute_of_day",
        "second_of_minute",
        "clock_change_s",
        "wall",
        "changes_last_minute",
        "remote_port",
        "held",
        "held_by_device",
        "held_by_grant",
        "elements",
        "held_on_port",
        "int_ports_today",
        "int_port_known",
    }
)
"""Facts that differ from one request to the next. A stored row names its own, so that this set may change."""
NUMBERS = re.compile(r"([0-9]+)")
GAP = "\t"
"""The place of a number in a pattern. JSON has no tab in a text."""


class UnreadableDecision(Exception):
    """Columns that are no decision: the file is damaged."""


class Shared(NamedTuple):
    """The columns of ``decision_shared`` after its id, in their order."""

    via: str
    device: str
    verdict: str
    rule: str | None
    policy: str
    pattern: str
    """The reasons, in JSON, without their numbers."""
    body: str
    """The other fields, in JSON."""


OwnValues = tuple[int | None, int | None, int | None, int, bool, str]
"""The columns of ``decisions`` after ``shared``: mapping, external port, internal port, count, unchanged, body."""


def split(record: DecisionRecord) -> tuple[Shared, OwnValues]:
    """The two parts of a record."""
    reasons = NUMBERS.split(_json(record.reasons))
    own = [name for name in record.facts if name in OWN_FACTS]
    facts = record.facts if not own else {**record.facts, **dict.fromkeys(own)}
    mapping = number_of(record.mapping, "m")
    shared = Shared(
        str(record.via),
        record.device,
        record.verdict,
        record.rule,
        record.policy,
        GAP.join(reasons[::2]),
        _json(
            (
                record.address,
                record.action,
                record.transport,
                record.internal_client,
                record.refusal,
                record.choice,
                facts,
                own,
            )
        ),
    )
    body = (
        " ".join(reasons[1::2]),
        [record.facts[name] for name in own],
        record.description,
        record.lease_s,
        record.granted_s,
        record.remote_host,
        record.holder,
        record.mapping if mapping is None else None,
    )
    return shared, (
        mapping,
        record.external_port,
        record.internal_port,
        record.count,
        record.unchanged,
        _json(_without_last_nulls(body)),
    )


def record_of(number: int, at: float, own: OwnValues, shared: Shared) -> DecisionRecord:
    """The record of these columns. Raises UnreadableDecision."""
    try:
        return _record_of(number, at, own, shared)
    except Exception as error:  # there are many ways to be no decision
        raise UnreadableDecision(f"d{number}") from error


def _record_of(number: int, at: float, own: OwnValues, shared: Shared) -> DecisionRecord:
    mapping, external_port, internal_port, count, unchanged, own_body = own
    numbers, values, description, lease_s, granted_s, remote_host, holder, other_mapping = _filled(
        _parsed(own_body), 8
    )
    address, action, transport, internal_client, refusal, choice, facts, names = _parsed(shared.body)
    gaps = iter(numbers.split())
    first, *rest = shared.pattern.split(GAP)
    return msgspec.convert(
        {
            "id": f"d{number}",
            "at": at,
            "via": shared.via,
            "device": shared.device,
            "verdict": shared.verdict,
            "rule": shared.rule,
            "policy": shared.policy,
            "reasons": _parsed(first + "".join(next(gaps) + text for text in rest)),
            "mapping": other_mapping if mapping is None else f"m{mapping}",
            "external_port": external_port,
            "internal_port": internal_port,
            "count": count,
            "unchanged": bool(unchanged),
            "description": description,
            "lease_s": lease_s,
            "granted_s": granted_s,
            "remote_host": remote_host,
            "holder": holder,
            "address": address,
            "action": action,
            "transport": transport,
            "internal_client": internal_client,
            "refusal": refusal,
            "choice": choice,
            "facts": {**facts, **dict(zip(names, values, strict=True))},
        },
        DecisionRecord,
    )


def number_of(identifier: str | None, letter: str) -> int | None:
    """``m17`` -> 17; None for any other text."""
    if identifier is None or identifier[:1] != letter:
        return None
    digits = identifier[1:]
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else None
    return number if number is not None and str(number) == digits else None


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a client
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=True)


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # it refuses half of a surrogate pair
        return json.loads(text)


def _without_last_nulls(values: Sequence[object]) -> Sequence[object]:
    end = len(values)
    while end and values[end - 1] is None:
        end -= 1
    return values[:end]


def _filled(values: Sequence[Any], length: int) -> Iterator[Any]:
    yield from values
    yield from [None] * (length - len(values))
