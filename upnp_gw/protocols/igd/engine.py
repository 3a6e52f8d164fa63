"""Runs a call of an action: finds its row, reads its arguments, calls its function.

An action is a function of the ``Caller`` and the typed arguments. It returns its out-arguments, a ``Fault``, a
``PendingAction`` (a request to the gateway, and the answer of its reply) or a ``CountedAnswer`` (the answer of
fresh counters). It never waits and changes nothing itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from upnp_gw.model.mapping import Via
from upnp_gw.model.request import ChangeRequest, Reply, Source, View, WanStatus
from upnp_gw.protocols.igd.arguments import Arguments, InvalidArgument, read_arguments
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.model import ActionModel, ServiceModel
from upnp_gw.protocols.igd_services import IgdVersion

Values = Mapping[str, str | int | bool]
"""Out-argument -> value."""
Answer = Values | Fault


@dataclass(frozen=True, slots=True)
class Caller:
    """The control point, the IGD version that it called, and what it may read."""

    igd_version: IgdVersion
    source: Source
    view: View
    default_connection: str
    """DefaultConnectionService of Layer3Forwarding in this IGD version."""

    @property
    def via(self) -> Via:
        """The version as a protocol of the ledger."""
        return self.igd_version.via

    @property
    def wan(self) -> WanStatus:
        """The WAN as this control point sees it."""
        return self.view.wan(self.source)


@dataclass(frozen=True, slots=True)
class PendingAction:
    """A request to the gateway. ``answer`` makes the action's answer of the reply."""

    request: ChangeRequest
    answer: Callable[[Reply], Answer]


@dataclass(frozen=True, slots=True)
class CountedAnswer:
    """An answer that needs fresh counters of the kernel."""

    answer: Callable[[], Answer]


Outcome = Answer | PendingAction | CountedAnswer
Action = Callable[[Caller, Arguments], Outcome]
Variable = Callable[[Caller], str | int | bool]


@dataclass(frozen=True, slots=True)
class ServiceRows:
    """The functions of a service's actions, and of the state variables for QueryStateVariable and events."""

    actions: Mapping[str, Action]
    variables: Mapping[str, Variable]


def perform(
    rows: ServiceRows, model: ServiceModel, caller: Caller, name: str, sent: tuple[tuple[str, str], ...]
) -> Outcome:
    """Runs the action of this name. 401: the description of this version does not declare it (IGD-073)."""
    declared = model.actions.get(name)
    if declared is None:
        return Fault(401)
    try:
        return rows.actions[name](caller, read_arguments(declared.inputs, sent))
    except InvalidArgument as rejected:
        return rejected.fault


def query(rows: ServiceRows, model: ServiceModel, caller: Caller, name: str) -> str | Fault:
    """QueryStateVariable: deprecated, but Windows XP, sbbi and Net::UPnP still call it (IGD section 4.4)."""
    read_variable = rows.variables.get(name) if name in model.variables else None
    return Fault(404) if read_variable is None else wire_text(read_variable(caller))


def out_arguments(declared: ActionModel, values: Values) -> list[tuple[str, str]]:
    """The out-arguments in the declared order. Raises KeyError for a missing one."""
    return [(argument.name, wire_text(values[argument.name])) for argument in declared.outputs]


def wire_text(value: str | int | bool) -> str:
    """A value as text of a message: booleans are ``0`` and ``1`` (IGD-079)."""
    return value if isinstance(value, str) else str(int(value))
