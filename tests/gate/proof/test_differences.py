"""Two policies compared over all requests."""

import pytest

from tests.fixtures.policies import policy_of
from upnp_gw.gate.proof.differences import Differences, Kind, opened_more

HEAD = '[device.nas]\nmac = ["00:11:32:00:00:02"]\n[zone]\nguest = ["192.168.20.0/24"]\n'
WEB = '[[grant]]\nname = "nas-web"\nwho = "nas"\nproto = "tcp"\nint_ports = ["8000-8099"]\next = "same"\n'
ALL = '[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["1024-65535"]\n'
ADMIN = '[[forbid]]\nname = "admin"\nint_ports = [3389]\n'


def differences(old: str, new: str) -> list[tuple[str, str, str, str]]:
    return [
        (one.kind.value, one.text, one.was, one.now)
        for one in Differences(policy_of(HEAD + old), policy_of(HEAD + new)).all()
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (WEB, WEB),
        (ALL + ADMIN, ADMIN + ALL),
        (ALL, ALL.replace('["1024-65535"]', '["1024-2000", "2001-65535"]')),
        (ALL + ADMIN, ALL.replace('["1024-65535"]', '["1024-3388", "3390-65535"]') + ADMIN),
        (WEB + '[[forbid]]\nname = "f"\nint_ports = [8000]\n', WEB.replace("8000-8099", "8001-8099")),
    ],
)
def test_nothing_differs(old: str, new: str) -> None:
    """Also where the texts do: no request gets another answer."""
    assert differences(old, new) == []


def test_a_new_grant_opens_more() -> None:
    found = differences("", WEB + 'hours = "22:00-06:00"\n')
    assert {(kind, was, now) for kind, _, was, now in found} == {
        (Kind.MORE, "deny: no grant covers this request", "allow by nas-web")
    }
    assert all("nas" in text and "tcp" in text and "internal 8000-8099" in text for _, text, _, _ in found)
    assert all("22:00-06:00" in text for _, text, _, _ in found)


def test_a_new_forbid_opens_less() -> None:
    ((kind, text, was, now),) = differences(ALL, ALL + ADMIN)
    assert (kind, was, now) == (Kind.LESS, "allow by all", "deny by admin")
    assert "internal 3389" in text


def test_a_reload_says_what_opens_more() -> None:
    old, new = policy_of(HEAD + ADMIN), policy_of(HEAD + ADMIN + WEB)
    assert opened_more(new, new) == ()
    assert opened_more(new, old) == ()
    (told,) = opened_more(old, new)
    assert told.startswith("nas, tcp, internal 8000-8099, external 1024-65535: was deny: no grant")
    assert told.endswith("becomes allow by nas-web")


def test_another_lease_is_a_difference() -> None:
    found = differences(WEB, WEB + 'max_hold = "1h"\n')
    assert {kind for kind, *_ in found} == {Kind.OTHER}
    assert {(was, now) for _, _, was, now in found} == {("allow by nas-web", "allow by nas-web")}


def test_another_default_is_a_difference() -> None:
    found = [
        one.kind
        for one in Differences(
            policy_of('default = "deny"\n' + HEAD + WEB), policy_of('default = "ask"\n' + HEAD + WEB)
        ).all()
    ]
    assert set(found) == {Kind.MORE}
    assert len(found) <= 8


PLAY = ALL + 'hours = "{}"\n'


def days(hours: str, old: str, new: str) -> set[tuple[str, str]]:
    """(kind, the part of the text about days) of each difference between two calendars."""
    found = differences_of(f"holidays = {old}\n" + PLAY.format(hours), f"holidays = {new}\n" + PLAY.format(hours))
    return {(kind, text.partition(", on ")[2].removesuffix(", 10:00-12:00")) for kind, text, _, _ in found}


def differences_of(old: str, new: str) -> list[tuple[str, str, str, str]]:
    return [
        (one.kind.value, one.text, one.was, one.now) for one in Differences(policy_of(old), policy_of(new)).all()
    ]


def test_a_day_is_named_by_the_holidays_of_both_policies() -> None:
    old, new = "days that are holidays of the old policy alone", "days that are holidays of the new policy alone"
    assert days("holidays 10:00-12:00", '["12-25"]', '["12-26"]') == {(Kind.MORE, new), (Kind.LESS, old)}
    assert days("mon-sun 10:00-12:00", '["12-25"]', '["12-26"]') == {(Kind.MORE, old), (Kind.LESS, new)}
    assert days("holidays 10:00-12:00", '["12-25"]', '["12-25"]') == set()
    one = '["12-25", 2027-05-06]'  # a Thursday
    assert days("holidays 10:00-12:00", '["12-25"]', one) == {
        (Kind.MORE, "thu that are holidays of the new policy alone")
    }
    assert days("thu,holidays 10:00-12:00", '["12-25"]', one) == set()


def test_other_hours_with_other_holidays() -> None:
    """The days that both policies call the same come first."""
    old = f'holidays = ["12-25"]\n{PLAY.format("sat 10:00-12:00")}'
    new = f'holidays = ["12-26"]\n{PLAY.format("sat-sun,holidays 10:00-12:00")}'
    (kind, text, _, _), *more = differences_of(old, new)
    assert (kind, more) == (Kind.MORE, [])
    assert text.partition(", on ")[2] == (
        "sun and on sat-sun that are holidays of the old policy alone"
        " and on mon-fri,sun that are holidays of the new policy alone, 10:00-12:00"
    )
