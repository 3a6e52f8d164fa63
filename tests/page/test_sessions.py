"""One-time links, sessions and the limit of failed tries, with a clock that the test moves."""

import pytest

from upnp_gw.page import sessions
from upnp_gw.page.sessions import Brake, Links, Notice, Sessions


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_link_is_good_once_and_for_a_time() -> None:
    time = Time()
    links = Links(time)
    first, second = links.make(), links.make()
    assert first != second
    assert not links.use("another")
    assert links.use(first)
    assert not links.use(first)
    time.now += sessions.LINK_S
    assert not links.use(second)


def test_many_links_push_out_the_oldest() -> None:
    links = Links(Time())
    made = [links.make() for _ in range(sessions.MOST_LINKS + 1)]
    assert [links.use(secret) for secret in made] == [False] + [True] * sessions.MOST_LINKS


def test_a_session_ends_when_it_is_idle_and_at_the_latest_after_half_a_day() -> None:
    time = Time()
    kept = Sessions(time)
    idle, busy = kept.begin(), kept.begin()
    ended_at = time.now + sessions.LONGEST_S
    time.now += sessions.IDLE_S - 1
    assert kept.find(busy) is not None
    assert kept.find(idle, use=False) is not None, "a live stream does not keep it"
    time.now += 1
    assert kept.find(idle) is None
    while time.now + 1000 < ended_at:
        time.now += 1000
        assert kept.find(busy) is not None
    time.now = ended_at
    assert kept.find(busy) is None
    assert len(kept) == 0


def test_of_too_many_sessions_the_least_used_one_ends() -> None:
    time = Time()
    kept = Sessions(time)
    secrets = []
    for _ in range(sessions.MOST_SESSIONS):
        secrets.append(kept.begin())
        time.now += 1
    assert kept.find(secrets[0]) is not None
    time.now += 1
    secrets.append(kept.begin())
    assert [kept.find(secret, use=False) is not None for secret in secrets[:3]] == [True, False, True]
    assert len(kept) == sessions.MOST_SESSIONS
    kept.end(secrets[0])
    assert kept.find(secrets[0]) is None
    assert kept.end_all() == sessions.MOST_SESSIONS - 1


def test_the_form_token_and_the_notices_are_those_of_the_session() -> None:
    kept = Sessions(Time())
    one, other = (kept.find(kept.begin()) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.accepts(one.form_token)
    assert not one.accepts(other.form_token)
    assert not one.accepts("")
    assert not one.accepts(None)
    for number in range(sessions.MOST_NOTICES + 1):
        one.tell(Notice("good", str(number)))
    assert [notice.text for notice in one.told()] == [str(n) for n in range(1, sessions.MOST_NOTICES + 1)]
    assert one.told() == []


@pytest.mark.parametrize(("own", "most"), [(True, sessions.FAILURES), (False, sessions.FAILURES_OF_ALL)])
def test_failed_tries_are_limited_for_a_host_and_for_all(own: bool, most: int) -> None:
    time = Time()
    brake = Brake(time)
    for number in range(most):
        assert brake.failed("192.168.1.5" if own else f"192.168.1.{100 + number}") == 0
    time.now += 1
    assert brake.failed("192.168.1.5") == sessions.BRAKE_S - 1
    assert (brake.failed("192.168.1.6") == 0) == own
    time.now += sessions.BRAKE_S - 1
    assert brake.failed("192.168.1.5") == 0, "what was refused did not count"
    time.now += 1
    assert brake.failed("192.168.1.5") == 0


def test_a_host_with_many_ipv6_addresses_is_one() -> None:
    brake = Brake(Time())
    for number in range(sessions.FAILURES):
        assert brake.failed(f"2001:db8:0:1::{number:x}") == 0
    assert brake.failed("2001:db8:0:1:ffff::1%lan0") > 0
    assert brake.failed("2001:db8:0:2::1") == 0
    for _ in range(sessions.FAILURES - 1):
        assert brake.failed("::ffff:192.168.1.5") == 0
    assert brake.failed("192.168.1.5") == 0
    assert brake.failed("::ffff:192.168.1.5") > 0
    assert brake.failed("::ffff:192.168.1.6") == 0, "these are IPv4 addresses, and no network of IPv6"


def test_what_is_kept_of_failed_tries_is_bounded() -> None:
    time = Time()
    brake = Brake(time)
    for number in range(10 * sessions.FAILURES_OF_ALL):
        brake.failed(f"2001:db8:0:{number:x}::1")
        assert brake.kept <= sessions.FAILURES_OF_ALL
    time.now += sessions.BRAKE_S
    brake.failed("192.168.1.5")
    assert brake.kept == 1
