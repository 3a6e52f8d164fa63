"""One call of an action: find its row, read its arguments, run it.

An action is a function of the ``Caller`` and the typed arguments. It returns its out-arguments, a ``Fault``, a
``PendingAction``: the request to the gateway, and how its reply becomes the answer; or ``CountedAnswer``: how fresh
counters become the answer. It never waits and changes nothing itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from upnp_gw.model.mapping import Via
from upnp_gw.model.request import ChangeRequest, Reply, Source, View
from upnp_gw.protocols.igd.arguments import Arguments, InvalidArgument, read
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.model import ActionModel, ServiceModel
from upnp_gw.protocols.igd_services import IgdVersion

Values = Mapping[str, str | int | bool]
"""Out-argument -> value."""
Answer = Values | Fault


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, on which face, and what may be read for it."""

    igd_version: IgdVersion
    source: Source
    view: View
    default_connection: str
    """Layer3Forwarding's DefaultConnectionService of this face."""

    @property
    def via(self) -> Via:
        return self.igd_version.via


@dataclass(frozen=True, slots=True)
class PendingAction:
    """The gateway is to be asked; ``answer`` turns its reply into the action's."""

    request: ChangeRequest
    answer: Callable[[Reply], Answer]


@dataclass(frozen=True, slots=True)
class CountedAnswer:
    """An answer from the kernel's counters: they are to be read again before it is made."""

    answer: Callable[[], Answer]


Outcome = Answer | PendingAction | CountedAnswer
Action = Callable[[Caller, Arguments], Outcome]
Variable = Callable[[Caller], str | int | bool]


@dataclass(frozen=True, slots=True)
class ServiceRows:
    """A service: what each of its actions does, and the state variables that QueryStateVariable reads."""

    actions: Mapping[str, Action]
    variables: Mapping[str, Variable]


def perform(
    rows: ServiceRows, model: ServiceModel, caller: Caller, name: str, sent: tuple[tuple[str, str], ...]
) -> Outcome:
    """Runs the action of this name. What the face's description does not declare is 401 (IGD-073)."""
    declared = model.actions.get(name)
    if declared is None:
        return Fault(401)
    try:
        return rows.actions[name](caller, read(declared.inputs, sent))
    except InvalidArgument as rejected:
        return rejected.fault


def query(rows: ServiceRows, model: ServiceModel, caller: Caller, name: str) -> str | Fault:
    """QueryStateVariable, deprecated but still called by Windows XP, sbbi and Net::UPnP (IGD section 4.4)."""
    read_variable = rows.variables.get(name) if name in model.variables else None
    return Fault(404) if read_variable is None else shown(read_variable(caller))


def out_arguments(declared: ActionModel, values: Values) -> list[tuple[str, str]]:
    """The response's arguments in the declared order, each once. A missing one is a defect of ours: KeyError."""
    return [(argument.name, shown(values[argument.name])) for argument in declared.outputs]


def shown(value: str | int | bool) -> str:
    """A value as the wire has it: booleans are ``0`` and ``1``, never words (IGD-079)."""
    return value if isinstance(value, str) else str(int(value))
