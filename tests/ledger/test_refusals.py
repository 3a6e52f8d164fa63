"""Mappings whose LAN got NAT, or lost it."""

from dataclasses import replace

import pytest

from tests.fixtures.mapping_rows import mapping
from tests.ledger.test_igd_key import HOME, NETWORK, A
from upnp_gw.ledger.refusals import NAT_BEGAN, NAT_ENDED, NotPlanned, nat_refusal

ALL_NAT, NO_NAT = frozenset[str](), frozenset({"lan0", "lan1"})


@pytest.mark.parametrize(
    ("client", "nat", "without_nat", "expected"),
    [
        (A, False, NETWORK.without_nat, None),
        (HOME, True, NETWORK.without_nat, None),
        (A, True, NETWORK.without_nat, NAT_ENDED),
        (HOME, True, NO_NAT, NAT_ENDED),
        (HOME, False, NETWORK.without_nat, NAT_BEGAN),
        (A, False, ALL_NAT, NAT_BEGAN),
        ("2001:db8::1", False, ALL_NAT, None),
        ("192.168.99.9", True, NO_NAT, None),  # its LAN has no address now: nothing is known of it
    ],
)
def test_only_a_mapping_of_the_other_kind_is_refused(
    client: str, nat: bool, without_nat: frozenset[str], expected: NotPlanned | None
) -> None:
    row = mapping(1, 443, client=client, nat=nat)
    assert nat_refusal(row, replace(NETWORK, without_nat=without_nat)) == expected
