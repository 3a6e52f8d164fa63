"""One POST on a control URL: bytes -> call -> the action's row -> perhaps the gateway -> bytes. Decides nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from upnp_gw.model.request import ChangeRequest, Reply, Source, View
from upnp_gw.protocols.igd.engine import Answer, Caller, CountedAnswer, PendingAction, out_arguments, perform, query
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.model import ServiceModels
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

log = logging.getLogger(__name__)

ELSEWHERE = {"WANIPConnection": "WANIPv6FirewallControl"}
"""Whose actions are served on a service's control URL too: nat-port-mapper sends AddPinhole to WANIPConnection."""
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
    """Why it is no 200: a short, fixed word for counters."""


class Control:
    """The control URLs of all faces. ``default_connections``: Layer3Forwarding's value of each face."""

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

    async def serve(
        self, igd_version: IgdVersion, service: Service, source: Source, headers: Mapping[str, str], body: bytes
    ) -> ControlAnswer:
        """The answer to a call; ``headers`` finds names in any case. Never raises for what a client sent."""
        try:
            call = parse_call(headers, body)
        except UnreadableBody as error:
            return self._unreadable(igd_version, service, body, error)
        except SoapError as error:
            return _not_a_call(error)
        caller = Caller(igd_version, source, self._backend.view, self._default_connections[igd_version])
        if call.is_query:
            return self._query(caller, service, call)
        served, service = self._where(igd_version, service, call.action)
        caller = replace(caller, igd_version=served)
        model = self._models[caller.igd_version, service.name]
        outcome = perform(ROWS[service.name], model, caller, call.action, call.arguments)
        if isinstance(outcome, PendingAction):
            outcome = await self._change(outcome)
        elif isinstance(outcome, CountedAnswer):
            outcome = await self._count(outcome)
        if isinstance(outcome, Fault):
            return _failed(outcome)
        arguments = out_arguments(model.actions[call.action], outcome)
        return ControlAnswer(HTTPStatus.OK, build_response(call.response_urn(service), call.action, arguments))

    def _unreadable(
        self, igd_version: IgdVersion, service: Service, body: bytes, error: UnreadableBody
    ) -> ControlAnswer:
        """Names the argument that cannot be read: of a bare status a control point's user learns nothing."""
        served, service = self._where(igd_version, service, error.action)
        declared = self._models[served, service.name].actions.get(error.action)
        inputs = declared.inputs if declared is not None else ()
        name = unreadable_argument(body, (argument.name for argument in inputs))
        return _not_a_call(error) if name is None else _failed(Fault(402, f"{name} cannot be read"), error.reason)

    def _where(self, igd_version: IgdVersion, service: Service, action: str) -> tuple[IgdVersion, Service]:
        """Face and service that serve an action: upnpc -n and -N send AddAnyPortMapping and
        DeletePortMappingRange to the IGD:1 service that they found, so what only version 2 declares is version
        2's, codes and all (docs/decisions/0012)."""
        names = (service.name, ELSEWHERE.get(service.name, service.name))
        for of, name in ((igd_version, service.name), *((IgdVersion.IGD2, name) for name in names)):
            model, found = self._models.get((of, name)), service_of(of, name)
            if model is not None and found is not None and action in model.actions:
                return of, found
        return igd_version, service

    def _query(self, caller: Caller, service: Service, call: Call) -> ControlAnswer:
        name = dict(call.arguments).get("varName", "").strip()
        value = query(ROWS[service.name], self._models[caller.igd_version, service.name], caller, name)
        if isinstance(value, Fault):
            return _failed(value)
        return ControlAnswer(HTTPStatus.OK, build_query_response(value))

    async def _change(self, change: PendingAction) -> Answer:
        """Asks the gateway. Whatever becomes of it, the control point is answered in time (IGD-089, IGD-145)."""
        try:
            async with asyncio.timeout(self._backend_s):
                reply = await self._backend.handle(change.request)
        except TimeoutError:
            log.error("no reply within %g s to a request of %s", self._backend_s, change.request.source.address)
            return Fault(501, "the packet filter does not answer")
        except Exception:
            log.exception("a request of %s failed", change.request.source.address)
            return Fault(501)
        return change.answer(reply)

    async def _count(self, counted: CountedAnswer) -> Answer:
        try:
            async with asyncio.timeout(self._backend_s):
                await self._backend.recount()
        except TimeoutError:
            return Fault(501, "the packet filter does not answer")
        return counted.answer()


def _not_a_call(error: SoapError) -> ControlAnswer:
    if error.fault is not None:
        return _failed(Fault(error.fault), error.reason)
    return ControlAnswer(error.status, b"", error.reason)


def _failed(fault: Fault, reason: str = "") -> ControlAnswer:
    body = build_fault(fault.code, fault.description)
    return ControlAnswer(HTTPStatus.INTERNAL_SERVER_ERROR, body, reason or f"fault-{fault.code}")
