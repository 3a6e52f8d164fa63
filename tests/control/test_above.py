"""The gateway above in the control API: the chain, and where it ends."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.fixtures.gateway import NETWORK
from tests.fixtures.granting_above import ABOVE, BEHIND, OUTERMOST, OWN
from tests.fixtures.mapping_rows import NOW, mapping
from upnp_gw.control.above import above_check, chain_sentence, gateway_above, lease_above
from upnp_gw.control.address_kind import address_kind
from upnp_gw.model.above import AboveState
from upnp_gw.model.mapping import Above, Endpoint, Via

PUBLIC = IPv4Address("9.9.9.9")
ANSWERS = AboveState(ABOVE, Via.PCP, answers_since=NOW.boot - 60, external=PUBLIC)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (ANSWERS, "double NAT: 192.168.1.1 answers over pcp; outside is 9.9.9.9"),
        (
            replace(ANSWERS, external=IPv4Address("100.64.0.9")),
            "double NAT: 192.168.1.1 answers over pcp; outside is 100.64.0.9, which is shared by a carrier's NAT"
            " (RFC 6598): there is one more router above it",
        ),
        (
            replace(ANSWERS, external=None),
            "double NAT: 192.168.1.1 answers over pcp; it has not told its address outside",
        ),
        (
            AboveState(ABOVE, silent_since=NOW.boot),
            "double NAT: 192.168.1.1 does not answer; new mappings are refused",
        ),
        (AboveState(ABOVE), "double NAT: 192.168.1.1 was not asked yet"),
        (AboveState(None), "double NAT: the WAN has no route to a gateway above"),
        (
            replace(ANSWERS, loop=True, problem="the gateway above leads back to this gateway"),
            "double NAT: the gateway above leads back to this gateway",
        ),
    ],
)
def test_the_sentence_tells_the_chain_and_where_it_ends(state: AboveState, sentence: str) -> None:
    assert chain_sentence(state, BEHIND) == sentence
    good = state.answers_since is not None and not state.problem
    check = above_check(state, BEHIND)
    assert (check.outcome, check.finding) == ("ok" if good else "warn", sentence)


def test_the_remedy_is_for_what_is_wrong() -> None:
    lost = above_check(replace(ANSWERS, problem="it has no external address"), BEHIND)
    silent = above_check(AboveState(ABOVE, silent_since=NOW.boot), BEHIND)
    assert "way to the internet" in (lost.remedy or "")
    assert "switch" in (silent.remedy or "")


def test_without_a_second_translation_it_is_no_double_nat() -> None:
    assert chain_sentence(ANSWERS, NETWORK).startswith("gateway above: 192.168.1.1 answers")


def test_its_state_has_times_and_the_kind_of_its_address() -> None:
    shown = gateway_above(ANSWERS, BEHIND, NOW)
    assert (shown.answers, shown.since_s, shown.external_address, shown.address_kind) == (
        True,
        60,
        str(PUBLIC),
        "public",
    )
    silent = gateway_above(AboveState(ABOVE, silent_since=NOW.boot - 5), BEHIND, NOW)
    assert (silent.answers, silent.since_s, silent.address_kind) == (False, 5, "none")
    assert gateway_above(AboveState(None), BEHIND, NOW).answers is None


@pytest.mark.parametrize(
    ("above", "state", "left_s"),
    [
        (Above(b"n" * 12, NOW.boot + 14), "waiting", None),
        (Above(b"n" * 12, NOW.boot + 900, Via.PCP, ABOVE, Endpoint(OUTERMOST, 40_000)), "granted", 900),
        (Above(b"n" * 12, NOW.boot, Via.PCP, ABOVE, Endpoint(OUTERMOST, 40_000), "it refused"), "lost", None),
    ],
)
def test_a_mapping_shows_both_hops(above: Above, state: str, left_s: int | None) -> None:
    assert lease_above(mapping(1), BEHIND, NOW) is None
    shown = lease_above(mapping(1, above=above), BEHIND, NOW)
    assert shown is not None
    assert (shown.state, shown.left_s, shown.problem) == (state, left_s, above.problem or None)
    assert (shown.own_address, shown.own_port) == (str(OWN), 8080)


@pytest.mark.parametrize(
    ("address", "kind"),
    [(None, "none"), ("9.9.9.9", "public"), ("10.0.0.1", "private"), ("100.64.0.1", "shared")],
)
def test_the_kind_of_an_address(address: str | None, kind: str) -> None:
    assert address_kind(IPv4Address(address) if address else None) == kind
