"""Faults as text."""

import re

import pytest

from upnp_gw.testing.answers import AskedAnswer
from upnp_gw.testing.fault_option import fault_rules
from upnp_gw.testing.journal import Request
from upnp_gw.testing.wire_faults import WIRE_FAULTS


def request(action: str) -> Request:
    return Request("igd1", action, {}, "127.0.0.1", b"", 0.0)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("AddPortMapping=718", AskedAnswer(718, None, False, None, 0)),
        ("AddPortMapping=ConflictInMappingEntry,after", AskedAnswer(718, None, True, None, 0)),
        ("pcp.map=NO_RESOURCES", AskedAnswer(8, None, False, None, 0)),
        ("DeletePortMapping=own,delay=1.5", AskedAnswer(None, None, False, None, 1.5)),
        ("M-SEARCH=silent", AskedAnswer(None, None, False, WIRE_FAULTS["silent"], 0)),
    ],
)
def test_a_fault_is_a_rule(fault: str, expected: AskedAnswer) -> None:
    answers = fault_rules([fault])
    action = fault.partition("=")[0]
    assert answers.take(request(action)) == expected
    assert answers.take(request(action)) == expected
    assert answers.take(request("GetStatusInfo")) is None


def test_it_ends_after_its_times_and_the_one_before_answers() -> None:
    answers = fault_rules(["AddPortMapping=501", "AddPortMapping=718,times=2"])
    taken = [answers.take(request("AddPortMapping")) for _ in range(3)]
    assert [asked.error for asked in taken if asked is not None] == [718, 718, 501]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("AddPortMapping", "accepted: ACTION=ANSWER"),
        ("AddPortMapping=", "accepted: ACTION=ANSWER"),
        ("AddPortMaping=718", "did you mean 'AddPortMapping'?"),
        ("AddPortMapping=NO_RESOURCES", "has no error 'NO_RESOURCES'"),
        ("AddPortMapping=718,times=often", "got 'times=often'"),
        ("AddPortMapping=718,times=0", "times must be 1 or more"),
        ("AddPortMapping=718,before", "accepted: times=2, delay=0.5, after"),
        ("AddPortMapping=own,delay=100", "delay_s must be 0 to 25"),
        ("DeletePortMapping=own", "needs a delay"),
        ("pcp.map=own,delay=1", "is a datagram"),
        ("pcp.map=reset", "is a datagram"),
    ],
)
def test_a_mistake_is_named(fault: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        fault_rules([fault])
