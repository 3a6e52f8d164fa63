"""Faults as text: ``[ACTION=]FAULT[,times=N][,after][,before][,PARAMETER=VALUE...]``, for options of commands.

FAULT is the name of a fault (docs/testing-faults.md), or the code or name of an error. ``own`` is the gateway's own
answer, and ``delay=S`` makes an answer late. Examples: ``AddPortMapping=718,times=1``, ``pcp.map=NO_RESOURCES``,
``GetExternalIPAddress=reset``, ``wan-down``, ``external-address,address=10.0.0.1``,
``DeletePortMapping=own,delay=3``.
"""

from collections.abc import Iterable

from upnp_gw.testing.fault import Fault
from upnp_gw.testing.faults.answers import Slow
from upnp_gw.testing.outcomes import REQUESTS
from upnp_gw.testing.registry import FAULTS, make_rule
from upnp_gw.testing.rules import Rule, Rules

OWN = "own"


def fault_rules(faults: Iterable[str]) -> Rules:
    """The rules of these texts, for a daemon without an emulator around it. Raises ValueError, also for a fault
    that needs one."""
    rules = Rules()
    for text in faults:
        rule = parse_fault(text)
        if any(type(fault).begin is not Fault.begin for fault in rule.faults):
            possible = ", ".join(name for name, kind in FAULTS.items() if kind.begin is Fault.begin)
            raise ValueError(f"{rule.name} is a fault of the emulator; accepted here: {possible}")
        rules.add(rule)
    return rules


def parse_fault(text: str) -> Rule:
    """One fault. Raises ValueError; it says what is accepted."""
    first, *options = text.split(",")
    left, equals, right = first.partition("=")
    action, name = (left, right) if equals else (None, left)
    if not name or action == "" or (action is None and name in REQUESTS):
        raise ValueError(f"got {text!r}; accepted: ACTION=ANSWER, such as AddPortMapping=718, or a fault")
    times: int | None = None
    delay_s, after, parameters = 0.0, None, dict[str, str]()
    for option in options:
        key, equals, value = option.partition("=")
        try:
            if key == "times":
                times = int(value)
            elif key == "delay":
                delay_s = float(value)
            elif option in ("after", "before"):
                after = option == "after"
            elif equals:
                parameters[key] = value
            else:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"got {option!r} in {text!r}; accepted: times=2, delay=0.5, after, before, PARAMETER=VALUE"
            ) from None
    if name == OWN:
        if not delay_s:
            raise ValueError(f"got {text!r}; the gateway's own answer needs a delay, such as {OWN},delay=3")
        return make_rule("slow", action, times=times, after=after, parameters={"seconds": delay_s})
    if name not in FAULTS and (equals_error := _error_name(name, action)):
        parameters["code"], name = equals_error, "error"
    rule = make_rule(name, action, times=times, after=after, parameters=parameters)
    if delay_s:
        rule.faults = (*rule.faults, Slow(delay_s))
    return rule


def _error_name(text: str, action: str | None) -> str:
    """The text, if it is meant as an error: a number, a name for an action; else empty."""
    return text if action or text.isdecimal() else ""
