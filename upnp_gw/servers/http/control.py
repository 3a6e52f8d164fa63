"""One POST on a control URL: parses the SOAP call, looks up the action, asks the gateway if the action changes
something, and builds the SOAP answer."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from upnp_gw.model.request import ChangeRequest, Reply, Source, View
from upnp_gw.protocols.igd.engine import Answer, Caller, CountedAnswer, PendingAction, out_arguments, perform, query
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.model import ActionModel, ServiceModels
from upnp_gw.protocols.igd.raw_description import unreadable_argument
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.igd.soap import (
    Call,
    SoapError,
    UnreadableBody,
    build_fault,
    build_query_response,
    build_response,
    parse_call,
)
from upnp_gw.protocols.igd_services import IgdVersion, Service, service_of
from upnp_gw.system.tasks import Deadline
from upnp_gw.text.escape import shown

log = logging.getLogger(__name__)

ELSEWHERE = {"WANIPConnection": "WANIPv6FirewallControl"}
"""Service -> another service whose actions are also served on its control URL: nat-port-mapper sends AddPinhole to
WANIPConnection."""
Handle = Callable[[ChangeRequest], Awaitable[Reply]]


async def _nothing_to_count() -> None:
    """For a gateway that counts no packets."""


@dataclass(frozen=True, slots=True)
class ControlBackend:
    """The gateway behind the control URLs."""

    view: View
    handle: Handle
    recount: Callable[[], Awaitable[None]] = _nothing_to_count
    """Brings the view's packet counters up to date."""


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    status: int
    body: bytes
    """SOAP XML; empty where the status is neither 200 nor 500."""
    reason: str = ""
    """A short, fixed word for the counters; empty for status 200."""


class Control:
    """All control URLs. ``default_connections``: DefaultConnectionService of Layer3Forwarding, by IGD version."""

    def __init__(
        self,
        models: ServiceModels,
        backend: ControlBackend,
        default_connections: Mapping[IgdVersion, str],
        backend_s: float,
    ) -> None:
        self._models = models
        self._backend = backend
        self._default_connections = default_connections
        self._backend_s = backend_s

    def serve(
        self, igd_version: IgdVersion, service: Service, source: Source, headers: Mapping[str, str], body: bytes
    ) -> ControlAnswer | Coroutine[Any, Any, ControlAnswer]:
        """Answers one call: at once, or as a coroutine if the gateway has to change or count something. ``headers``
        ignores the case of names. Never raises for bad input of a client."""
        try:
            call = parse_call(headers, body)
        except UnreadableBody as error:
            return self._unreadable(igd_version, service, body, error)
        except SoapError as error:
            return _not_a_call(error)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("HTTP: %s calls %s of %s", source.address, shown(call.action), service.name)
        default_connection = self._default_connections[igd_version]
        if call.is_query:
            return self._query(Caller(igd_version, source, self._backend.view, default_connection), service, call)
        served, service = self._serving(igd_version, service, call.action)
        caller = Caller(served, source, self._backend.view, default_connection)
        model = self._models[served, service.name]
        outcome = perform(ROWS[service.name], model, caller, call.action, call.arguments)
        declared = model.actions.get(call.action)
        if isinstance(outcome, PendingAction):
            return _later(self._change(outcome), call, service, declared)
        if isinstance(outcome, CountedAnswer):
            return _later(self._count(outcome), call, service, declared)
        return _answered(outcome, call, service, declared)

    def _unreadable(
        self, igd_version: IgdVersion, service: Service, body: bytes, error: UnreadableBody
    ) -> ControlAnswer:
        """Answers with the name of the malformed argument, if it can be found: a bare status does
        not help the user."""
        served, service = self._serving(igd_version, service, error.action)
        declared = self._models[served, service.name].actions.get(error.action)
        inputs = declared.inputs if declared is not None else ()
        name = unreadable_argument(body, (argument.name for argument in inputs))
        return _not_a_call(error) if name is None else _failed(Fault(402, f"{name} cannot be read"), error.reason)

    def _serving(self, igd_version: IgdVersion, service: Service, action: str) -> tuple[IgdVersion, Service]:
        """The IGD version and service that serve an action. An action that only version 2 declares is served as
        version 2, with its error codes, on version 1's URL too: upnpc -n and -N send AddAnyPortMapping and
        DeletePortMappingRange to the IGD:1 service (docs/decisions/0012)."""
        model = self._models.get((igd_version, service.name))
        if model is not None and action in model.actions:
            return igd_version, service
        names = (service.name, ELSEWHERE.get(service.name, service.name))
        for name in names:
            model, declared = self._models.get((IgdVersion.IGD2, name)), service_of(IgdVersion.IGD2, name)
            if model is not None and declared is not None and action in model.actions:
                return IgdVersion.IGD2, declared
        return igd_version, service

    def _query(self, caller: Caller, service: Service, call: Call) -> ControlAnswer:
        name = dict(call.arguments).get("varName", "").strip()
        value = query(ROWS[service.name], self._models[caller.igd_version, service.name], caller, name)
        if isinstance(value, Fault):
            return _failed(value)
        return ControlAnswer(HTTPStatus.OK, build_query_response(value))

    async def _change(self, change: PendingAction) -> Answer:
        """Asks the gateway. Answers in time even if the gateway does not (IGD-089, IGD-145)."""
        source = change.request.source.address
        try:
            with Deadline(self._backend_s):
                reply = await self._backend.handle(change.request)
        except TimeoutError:
            log.error("HTTP: the gateway did not answer a request of %s within %g s", source, self._backend_s)
            return Fault(501, "the packet filter does not answer")
        except Exception:
            log.exception("HTTP: a request of %s failed", source)
            return Fault(501)
        return change.answer(reply)

    async def _count(self, counted: CountedAnswer) -> Answer:
        try:
            with Deadline(self._backend_s):
                await self._backend.recount()
        except TimeoutError:
            return Fault(501, "the packet filter does not answer")
        return counted.answer()


def _answered(outcome: Answer, call: Call, service: Service, declared: ActionModel | None) -> ControlAnswer:
    if isinstance(outcome, Fault) or declared is None:
        return _failed(outcome if isinstance(outcome, Fault) else Fault(401))
    arguments = out_arguments(declared, outcome)
    return ControlAnswer(HTTPStatus.OK, build_response(call.response_urn(service), call.action, arguments))


async def _later(
    outcome: Awaitable[Answer], call: Call, service: Service, declared: ActionModel | None
) -> ControlAnswer:
    return _answered(await outcome, call, service, declared)


def _not_a_call(error: SoapError) -> ControlAnswer:
    if error.fault is not None:
        return _failed(Fault(error.fault), error.reason)
    return ControlAnswer(error.status, b"", error.reason)


def _failed(fault: Fault, reason: str = "") -> ControlAnswer:
    body = build_fault(fault.code, fault.description)
    return ControlAnswer(HTTPStatus.INTERNAL_SERVER_ERROR, body, reason or f"fault-{fault.code}")
