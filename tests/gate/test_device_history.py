"""The book of devices: rate, ports of the day, incidents, and that it stays small whatever comes."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.policies import PC, PC_MAC, TV_MAC, map_request
from upnp_gw.gate.decision import FAULT, Outcome, Verdict
from upnp_gw.gate.device_history import MOST_DEVICES, MOST_INCIDENTS, MOST_PORTS_A_DAY, DeviceHistory, Incident
from upnp_gw.gate.schema import Limits, OnIncident
from upnp_gw.model.mapping import Instant, Via
from upnp_gw.model.request import Refusal

DAY = 700_000


def at(seconds: float) -> Instant:
    return Instant(seconds, 1_700_000_000 + seconds)


def no(refusal: Refusal = Refusal.NOT_AUTHORIZED, reason: str = "no grant covers this request") -> Verdict:
    outcome = Outcome.ASK if refusal is Refusal.ASK else Outcome.DENY
    return Verdict(outcome, None, refusal, (reason,), None, "")


ALLOWED = Verdict(Outcome.ALLOW, "g", None, ("granted",), None, "")


def refuse(
    history: DeviceHistory, port: int, seconds: float, verdict: Verdict | None = None, via: Via = Via.IGD1
) -> Incident | None:
    return history.count_refusal(PC_MAC, map_request(PC, port, via=via), verdict or no(), at(seconds), DAY)


def history_of(**limits: object) -> DeviceHistory:
    return DeviceHistory(SimpleNamespace(limits=Limits(**limits)))  # type: ignore[arg-type]


# -- rate


@pytest.mark.spec("SR-5")
def test_changes_of_the_last_minute() -> None:
    history = history_of(requests_per_minute=5)
    for second in (0, 10, 20):
        history.count_change(PC_MAC, at(second))
    assert [history.changes_last_minute(PC_MAC, at(s)) for s in (20, 59.9, 60, 70, 80)] == [3, 3, 2, 1, 0]
    assert history.changes_last_minute(TV_MAC, at(20)) == 0


@pytest.mark.spec("SR-5")
@given(st.lists(st.floats(0, 200), max_size=60).map(sorted), st.integers(1, 20))
def test_the_count_is_exact_up_to_the_limit(times: list[float], limit: int) -> None:
    history = history_of(requests_per_minute=limit)
    for n, time in enumerate(times):
        real = sum(1 for earlier in times[:n] if earlier > time - 60)
        assert history.changes_last_minute(PC_MAC, at(time)) == min(real, limit)
        history.count_change(PC_MAC, at(time))


# -- ports of the day


def test_ports_of_the_day_are_distinct_and_end_with_it() -> None:
    history = history_of()
    for port in (5000, 5001, 5000):
        history.count_grant(PC_MAC, port, at(0), DAY)
    assert history.int_ports_today(PC_MAC, DAY) == {5000, 5001}
    assert history.int_ports_today(PC_MAC, DAY + 1) == set()
    history.count_grant(PC_MAC, 6000, at(1), DAY + 1)
    assert history.int_ports_today(PC_MAC, DAY + 1) == {6000}
    assert history.int_ports_today(TV_MAC, DAY) == set()


def test_a_quota_refusal_counts_as_asked_over_tcp_alone() -> None:
    history = history_of()
    refuse(history, 5000, 0, no(Refusal.QUOTA))
    refuse(history, 5001, 0, no(Refusal.QUOTA), Via.NATPMP)
    refuse(history, 5002, 0, no(Refusal.NOT_AUTHORIZED))
    assert history.int_ports_today(PC_MAC, DAY) == {5000}


# -- incidents


def test_distinct_ports_within_ten_minutes_are_one_incident() -> None:
    history = history_of(incident_after=3)
    assert refuse(history, 1, 0) is None
    assert refuse(history, 2, 1) is None
    incident = refuse(history, 3, 2)
    assert incident == Incident(PC_MAC, at(2), 2 + 86400, (1, 2, 3), OnIncident.FREEZE)
    assert [refuse(history, port, 3 + port) for port in range(4, 40)] == [None] * 36
    assert history.incidents(at(100)) == (incident,)


def test_slow_refusals_are_none() -> None:
    history = history_of(incident_after=3)
    assert [refuse(history, port, port * 301) for port in range(50)] == [None] * 50


@pytest.mark.parametrize("refusal", [r for r in Refusal if r is not Refusal.NOT_AUTHORIZED])
def test_only_a_denial_by_policy_is_evidence(refusal: Refusal) -> None:
    history = history_of(incident_after=3)
    assert [refuse(history, port, 0, no(refusal)) for port in range(20)] == [None] * 20


def test_retries_of_one_port_are_not_distinct_and_a_fault_of_ours_is_not_theirs() -> None:
    history = history_of(incident_after=3)
    assert [refuse(history, 22000, second) for second in range(100)] == [None] * 100
    assert [refuse(history, port, 0, no(reason=FAULT)) for port in range(20)] == [None] * 20
    assert history.count_refusal(PC_MAC, map_request(), ALLOWED, at(0), DAY) is None


@pytest.mark.spec("SR-26")
@pytest.mark.parametrize("via", [Via.NATPMP, Via.PCP, Via.OPERATOR])
def test_a_thousand_forged_datagrams_leave_the_victim_as_it_was(via: Via) -> None:
    history = history_of()
    before = (history.int_ports_today(PC_MAC, DAY), history.frozen(PC_MAC, at(0)), history.incidents(at(0)))
    for n in range(1000):
        refusal = (Refusal.NOT_AUTHORIZED, Refusal.QUOTA, Refusal.ASK)[n % 3]
        assert refuse(history, 1 + n, n / 10, no(refusal), via) is None
    assert (
        history.int_ports_today(PC_MAC, DAY),
        history.frozen(PC_MAC, at(100)),
        history.incidents(at(100)),
    ) == before


@pytest.mark.parametrize(("action", "frozen"), [("freeze", True), ("quarantine", True), ("log", False)])
def test_the_action_and_the_end_of_an_incident(action: str, frozen: bool) -> None:
    history = history_of(incident_after=1, on_incident=OnIncident(action))
    incident = refuse(history, 1, 0)
    assert incident is not None
    assert incident.action == action
    assert history.frozen(PC_MAC, at(0)) is frozen
    assert history.frozen(TV_MAC, at(0)) is False
    assert refuse(history, 2, 10) is None, "one incident, not one for each port"
    assert history.frozen(PC_MAC, at(86399)) is frozen
    assert history.frozen(PC_MAC, at(86400)) is False
    assert history.incidents(at(86400)) == ()
    assert refuse(history, 2, 86400) is not None


def test_release_ends_it_and_forgets_the_evidence() -> None:
    history = history_of(incident_after=2)
    refuse(history, 1, 0)
    refuse(history, 2, 0)
    assert history.frozen(PC_MAC, at(1))
    released = history.release(PC_MAC)
    assert released is not None
    assert released.ports == (1, 2)
    assert not history.frozen(PC_MAC, at(1))
    refuse(history, 3, 2)
    assert history.release(PC_MAC) is None
    assert refuse(history, 4, 3) is None
    history.add_incident(released)
    assert history.frozen(PC_MAC, at(1))


# -- what people read


def test_devices() -> None:
    history = history_of()
    history.count_change(PC_MAC, at(5))
    refuse(history, 5000, 10)
    refuse(history, 5001, 11, no(Refusal.ASK))
    history.count_change(TV_MAC, at(12))
    (pc, tv) = history.devices(at(20))
    assert (pc.device, pc.address, pc.first_seen, pc.last_seen) == (PC_MAC, PC, at(5).wall, at(11).wall)
    assert pc.refused == {Refusal.NOT_AUTHORIZED: 1, Refusal.ASK: 1}
    assert (tv.device, tv.refused, tv.incident) == (TV_MAC, {}, None)


# -- bounds


@pytest.mark.spec("SR-5")
def test_memory_is_bounded_under_any_input_from_the_lan() -> None:
    history = history_of(requests_per_minute=10, incident_after=2)
    for n in range(MOST_DEVICES + 500):
        device = f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}"
        for port in (1, 2):
            history.count_change(device, at(n))
            history.count_refusal(device, map_request(PC, port), no(), at(n), DAY)
    assert len(history.devices(at(0))) == MOST_DEVICES
    assert len(history.incidents(at(0))) == MOST_INCIDENTS
    for port in range(1, 5000):
        history.count_grant(PC_MAC, port, at(9000), DAY)
        history.count_change(PC_MAC, at(9000))
        refuse(history, port, 9000)
    assert len(history.int_ports_today(PC_MAC, DAY)) == MOST_PORTS_A_DAY
    assert history.changes_last_minute(PC_MAC, at(9000)) == 10


def test_a_frozen_device_is_not_forgotten_because_others_come() -> None:
    history = history_of(incident_after=1)
    refuse(history, 1, 0)
    for n in range(MOST_DEVICES + 1):
        history.count_change(f"device{n}", at(1))
    assert PC_MAC not in [seen.device for seen in history.devices(at(2))]
    assert history.frozen(PC_MAC, at(2))


def test_devices_that_asked_nothing_for_long_are_forgotten_and_their_incidents_are_not() -> None:
    known = history_of()
    for number, device in enumerate(("a", "b", "c")):
        known.count_change(device, at(number * 100))
    known.changed_devices()
    known.forget_silent(at(150).wall)
    assert [one.device for one in known.devices(at(300))] == ["c"]
    assert known.changed_devices() == {"a": None, "b": None}, "the store deletes them"
    known.forget(["c", "unknown"])
    assert known.devices(at(300)) == ()
