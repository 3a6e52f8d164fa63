"""Faults as text: ``ACTION=ANSWER[,times=N][,after][,delay=S]``, for options of commands.

ACTION and the values are those of ``Emulator.answer``. ANSWER is an error by its code or name, a wire fault by its
name, or ``own`` for the gateway's own answer after a delay. Examples: ``AddPortMapping=718,times=1``,
``pcp.map=NO_RESOURCES``, ``GetExternalIPAddress=reset``, ``DeletePortMapping=own,delay=3``.
"""

from collections.abc import Iterable

from upnp_gw.testing.answers import Answers
from upnp_gw.testing.wire_faults import WIRE_FAULTS

OWN = "own"


def fault_rules(faults: Iterable[str]) -> Answers:
    """The rules of these texts. Raises ValueError."""
    answers = Answers()
    for fault in faults:
        _add(answers, fault)
    return answers


def _add(answers: Answers, fault: str) -> None:
    action, equals, rest = fault.partition("=")
    answer, *options = rest.split(",")
    if not equals or not answer:
        raise ValueError(f"got {fault!r}; accepted: ACTION=ANSWER, such as AddPortMapping=718")
    times, delay_s, after = None, 0.0, False
    for option in options:
        name, _, value = option.partition("=")
        try:
            if name == "times":
                times = int(value)
            elif name == "delay":
                delay_s = float(value)
            elif option == "after":
                after = True
            else:
                raise ValueError
        except ValueError:
            raise ValueError(f"got {option!r} in {fault!r}; accepted: times=2, delay=0.5, after") from None
    if answer == OWN and not delay_s:
        raise ValueError(f"got {fault!r}; the gateway's own answer needs a delay, such as {OWN},delay=3")
    if answer == OWN or answer in WIRE_FAULTS:
        wire = answer if answer in WIRE_FAULTS else None
        answers.add(action, None, times=times, after=after, delay_s=delay_s, wire=wire)
    else:
        answers.add(
            action, int(answer) if answer.isdecimal() else answer, times=times, after=after, delay_s=delay_s
        )
