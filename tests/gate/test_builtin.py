"""The built-in home policy: a home works at once, and an infected PC meets its end."""

from dataclasses import replace
from datetime import date

import pytest

from tests import ROOT
from tests.fixtures.policies import PC, PC_MAC, TODAY, facts_of, map_request
from upnp_gw.gate.builtin import home_policy, home_text, profile_text
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import HeldMappings, Outcome, Verdict
from upnp_gw.gate.device_history import DeviceHistory, Incident
from upnp_gw.gate.load import load_text
from upnp_gw.model.mapping import Instant, Transport, Via
from upnp_gw.model.request import Refusal

HOME_EXAMPLE = ROOT / "examples" / "policies" / "home.toml"


def test_it_is_an_ordinary_policy_and_an_example() -> None:
    loaded = load_text(home_text(), "home", TODAY)
    assert loaded.policy == home_policy()
    assert not loaded.warnings
    assert len(loaded.policy.cases) >= 7
    assert HOME_EXAMPLE.read_text("utf-8") == home_text()


def test_the_header_states_the_limits_of_the_grant() -> None:
    (grant,) = home_policy().grants
    header = home_text().partition("\nversion =")[0]
    assert f"{grant.max_mappings} mappings at a time" in header
    assert f"{grant.max_ports_per_day} different ports a day" in header


@pytest.mark.parametrize("port", [22, 23, 135, 137, 138, 139, 445, 3389, 5900])
def test_admin_ports_are_never_for_the_internet(port: int) -> None:
    verdict = decide(home_policy(), facts_of(), map_request(PC, port, 40000))
    assert (verdict.outcome, verdict.rule) == (Outcome.DENY, "never-admin-ports")


@pytest.mark.parametrize("profile", ["home", "ask"])
@pytest.mark.parametrize("port", [1434, 1900, 3283, 3702, 5351, 5353, 5683, 11211, 37810])
def test_services_that_reflect_are_never_for_the_internet(port: int, profile: str) -> None:
    policy = load_text(profile_text(profile), profile, date(2026, 1, 1)).policy
    request = map_request(PC, port, 40000)
    over_udp = decide(policy, facts_of(), replace(request, transport=Transport.UDP))
    assert (over_udp.outcome, over_udp.rule) == (Outcome.DENY, "never-reflectors")
    assert decide(policy, facts_of(), replace(request, transport=Transport.TCP)).rule != "never-reflectors"


class Lan:
    """The gateway's bookkeeping around ``decide``, without a ledger: what is granted stays."""

    def __init__(self) -> None:
        self.history = DeviceHistory(home_policy())
        self.held: set[int] = set()
        self.incidents: list[Incident] = []

    def ask(self, port: int, at: float, via: Via = Via.IGD1) -> Verdict:
        now, today = Instant(at, at), TODAY.toordinal()
        request = map_request(PC, port, via=via)
        others = len(self.held - {port})
        facts = facts_of(
            held=HeldMappings(others, others, {"home-own-ports": others}),
            changes_last_minute=self.history.changes_last_minute(PC_MAC, now),
            int_ports_today=self.history.int_ports_today(PC_MAC, today),
            frozen=self.history.frozen(PC_MAC, now),
            standing=port in self.held,
        )
        self.history.count_change(PC_MAC, now)
        verdict = decide(home_policy(), facts, request)
        if verdict.outcome is Outcome.ALLOW:
            self.held.add(port)
            self.history.count_grant(PC_MAC, port, now, today)
        elif incident := self.history.count_refusal(PC_MAC, request, verdict, now, today):
            self.incidents.append(incident)
        return verdict


@pytest.mark.spec("SR-6")
def test_a_burst_of_27_ports_gets_8_mappings_and_is_one_incident() -> None:
    lan = Lan()
    verdicts = [lan.ask(20000 + n, at=1000 + n) for n in range(27)]
    assert [v.outcome for v in verdicts[:8]] == [Outcome.ALLOW] * 8
    assert all(v.outcome is Outcome.DENY for v in verdicts[8:])
    assert len(lan.held) == 8
    (incident,) = lan.incidents
    assert incident.device == PC_MAC
    assert len(incident.ports) == 12
    assert lan.history.frozen(PC_MAC, Instant(1100, 1100))


@pytest.mark.spec("SR-6")
def test_the_burst_again_and_again_is_still_one_incident() -> None:
    lan = Lan()
    for n in range(27 * 5):
        lan.ask(20000 + n % 27, at=1000 + n)
    assert len(lan.held) == 8
    assert len(lan.incidents) == 1


def test_a_patient_one_gets_twelve_ports_a_day() -> None:
    lan = Lan()
    for n in range(27):
        lan.held.clear()
        lan.ask(20000 + n, at=1000 + n * 1800)
    assert lan.history.int_ports_today(PC_MAC, TODAY.toordinal()) == set(range(20000, 20012))


@pytest.mark.spec("SR-26")
def test_a_burst_of_datagrams_is_no_incident() -> None:
    lan = Lan()
    refused = [lan.ask(20000 + n, at=1000 + n, via=Via.NATPMP).refusal for n in range(27)]
    assert refused[8:] == [Refusal.QUOTA] * 19
    assert not lan.incidents


def test_a_program_that_retries_is_no_incident() -> None:
    """Syncthing tries ten external ports for one internal port, over every protocol there is."""
    lan = Lan()
    for n in range(8):
        lan.ask(30000 + n, at=1000)
    for n in range(40):
        assert lan.ask(22000, at=2000 + n * 2).refusal is Refusal.QUOTA
    assert not lan.incidents


def test_a_frozen_device_can_refresh_its_mappings() -> None:
    lan = Lan()
    for n in range(27):
        lan.ask(20000 + n, at=1000 + n)
    assert lan.ask(20000, at=1200).outcome is Outcome.ALLOW
    assert lan.ask(20026, at=1201).reasons[-1] == "this device is frozen after an incident"
