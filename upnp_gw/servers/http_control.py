"""One POST on a control URL: bytes -> call -> the action's row -> perhaps the gateway -> bytes. Decides nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from upnp_gw.protocols.faces import Face, Service
from upnp_gw.protocols.igd.engine import Answer, Caller, Change, out_arguments, perform, query
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.model import ServiceModels
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.soap import (
    Call,
    SoapError,
    build_fault,
    build_query_response,
    build_response,
    parse_call,
)
from upnp_gw.request import ChangeRequest, Reply, Source, View

log = logging.getLogger(__name__)

Handle = Callable[[ChangeRequest], Awaitable[Reply]]


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
        view: View,
        handle: Handle,
        default_connections: Mapping[Face, str],
        backend_s: float,
    ) -> None:
        self._models = models
        self._view = view
        self._handle = handle
        self._default_connections = default_connections
        self._backend_s = backend_s

    async def serve(
        self, face: Face, service: Service, source: Source, headers: Mapping[str, str], body: bytes
    ) -> ControlAnswer:
        """The answer to a call; ``headers`` finds names in any case. Never raises for what a client sent."""
        try:
            call = parse_call(headers, body)
        except SoapError as error:
            if error.fault is not None:
                return _failed(Fault(error.fault), error.reason)
            return ControlAnswer(error.status, b"", error.reason)
        caller = Caller(face, source, self._view, self._default_connections[face])
        if call.is_query:
            return self._query(caller, service, call)
        caller = replace(caller, face=self._face_of(face, service, call.action))
        model = self._models[caller.face, service.name]
        outcome = perform(ROWS[service.name], model, caller, call.action, call.arguments)
        if isinstance(outcome, Change):
            outcome = await self._change(outcome)
        if isinstance(outcome, Fault):
            return _failed(outcome)
        arguments = out_arguments(model.actions[call.action], outcome)
        return ControlAnswer(HTTPStatus.OK, build_response(call.response_urn(service), call.action, arguments))

    def _face_of(self, face: Face, service: Service, action: str) -> Face:
        """The face that serves an action: upnpc -n and -N send AddAnyPortMapping and DeletePortMappingRange to
        the IGD:1 service that they found, so what only version 2 declares is version 2's, codes and all."""
        newer = self._models.get((Face.IGD2, service.name))
        declared = action in self._models[face, service.name].actions
        return Face.IGD2 if not declared and newer is not None and action in newer.actions else face

    def _query(self, caller: Caller, service: Service, call: Call) -> ControlAnswer:
        name = dict(call.arguments).get("varName", "").strip()
        value = query(ROWS[service.name], self._models[caller.face, service.name], caller, name)
        if isinstance(value, Fault):
            return _failed(value)
        return ControlAnswer(HTTPStatus.OK, build_query_response(value))

    async def _change(self, change: Change) -> Answer:
        """Asks the gateway. Whatever becomes of it, the control point is answered in time (IGD-089, IGD-145)."""
        try:
            async with asyncio.timeout(self._backend_s):
                reply = await self._handle(change.request)
        except TimeoutError:
            log.error("no reply within %g s to a request of %s", self._backend_s, change.request.source.address)
            return Fault(501, "the packet filter does not answer")
        except Exception:
            log.exception("a request of %s failed", change.request.source.address)
            return Fault(501)
        return change.answer(reply)


def _failed(fault: Fault, reason: str = "") -> ControlAnswer:
    body = build_fault(fault.code, fault.description)
    return ControlAnswer(HTTPStatus.INTERNAL_SERVER_ERROR, body, reason or f"fault-{fault.code}")
