"""Answers in words."""

import pytest

from upnp_gw.setup.answers import LanAnswer, NotAccepted, parse_lans


def test_lans() -> None:
    found = parse_lans(["br0 guest0:guests"], ["br0", "guest0"], ["br0"])
    assert found == (LanAnswer("br0"), LanAnswer("guest0", guests=True))
    with pytest.raises(NotAccepted, match="accepted: br0"):
        parse_lans(["eth9"], ["br0"], ["br0"])
