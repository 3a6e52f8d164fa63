"""Faults as text."""

import re
from collections.abc import Sequence

import pytest

from upnp_gw.testing.fault_option import fault_rules, parse_fault
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import Outcome
from upnp_gw.testing.registry import FAULTS


def request(action: str) -> Request:
    return Request("igd1", action, {}, "127.0.0.1", b"", 0.0)


@pytest.mark.parametrize(
    ("fault", "outcome", "before", "delay_s", "kinds"),
    [
        ("AddPortMapping=718", (718, None), True, 0, ["error"]),
        ("AddPortMapping=ConflictInMappingEntry,after", (718, None), False, 0, ["error"]),
        ("AddPortMapping=error,code=718", (718, None), True, 0, ["error"]),
        ("pcp.map=NO_RESOURCES", (8, None), True, 0, ["error"]),
        ("DeletePortMapping=own,delay=1.5", (None, None), False, 1.5, ["slow"]),
        ("DeletePortMapping=chunked,delay=1.5", (None, None), False, 1.5, ["chunked", "slow"]),
        ("AddPortMapping=reset,before", (None, None), True, 0, ["reset"]),
        ("M-SEARCH=silent", (None, None), False, 0, ["silent"]),
    ],
)
def test_a_fault_is_a_rule(
    fault: str, outcome: Outcome, before: bool, delay_s: float, kinds: Sequence[str]
) -> None:
    rules = fault_rules([fault])
    action = fault.partition("=")[0]
    for _ in range(2):
        struck = rules.take(request(action))
        assert struck is not None
        assert (struck.outcome, struck.before, struck.delay_s) == (outcome, before, delay_s)
        assert [type(each) for each in struck.faults] == [FAULTS[kind] for kind in kinds]
    assert rules.take(request("GetStatusInfo")) is None


def test_a_fault_without_an_action_strikes_all_that_it_can() -> None:
    rules = fault_rules(["718", "silent,times=2"])
    assert [rules.take(request(action)) is not None for action in ("AddPinhole", "GET", "pcp.map", "GET")] == [
        *(True, True, False, False)
    ]
    assert parse_fault("external-address,address=10.0.0.1").lasting
    with pytest.raises(ValueError, match="external-address is a fault of the emulator"):
        fault_rules(["external-address"])
    [firewall] = fault_rules(["slot-table,slots=3"]).all()
    assert firewall.lasting


def test_it_ends_after_its_times_and_the_one_before_answers() -> None:
    rules = fault_rules(["AddPortMapping=501", "AddPortMapping=718,times=2"])
    taken = [rules.take(request("AddPortMapping")) for _ in range(3)]
    assert [struck.outcome[0] for struck in taken if struck is not None] == [718, 718, 501]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("AddPortMapping", "accepted: ACTION=ANSWER"),
        ("AddPortMapping=", "accepted: ACTION=ANSWER"),
        ("AddPortMaping=718", "did you mean 'AddPortMapping'?"),
        ("AddPortMapping=NO_RESOURCES", "has no error 'NO_RESOURCES'"),
        ("AddPortMapping=718,times=often", "got 'times=often'"),
        ("AddPortMapping=718,times=0", "times must be 1 or more"),
        ("AddPortMapping=718,first", "accepted: times=2, delay=0.5, after, before"),
        ("AddPortMapping=own,delay=100", "seconds must be 0 to 25"),
        ("DeletePortMapping=own", "needs a delay"),
        ("pcp.map=reset", "the fault 'reset' does not strike pcp.map; accepted: "),
        ("AddPortMapping=718,code=3,colour=red", "has no 'colour'; accepted: code"),
        ("wan-dawn", "there is no fault 'wan-dawn'; did you mean 'wan-down'?"),
        ("wan-down,times=2", "the fault 'wan-down' has no times"),
        ("error", "needs code: its number"),
        ("AddPortMapping=chunked,before", "strikes after; after cannot be chosen"),
        ("slow,seconds=soon", "seconds of the fault 'slow' is 'soon'; accepted: float"),
    ],
)
def test_a_mistake_is_named(fault: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        fault_rules([fault])
