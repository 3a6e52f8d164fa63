"""Reads the actions and their arguments from the served descriptions: calls are checked against them.

async-upnp-client reads them, as in Home Assistant, which is strict. So the daemon serves no description that it
cannot read.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from async_upnp_client.client import UpnpAction, UpnpRequester, UpnpService
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpRequest, HttpResponse

from upnp_gw.protocols.igd.model import ActionModel, ArgumentModel, DataType, ServiceModel, ServiceModels
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, description_path

BASE = "http://127.0.0.1"
"""The address that the documents are read from. No packet is sent there."""


class _Documents(UpnpRequester):
    """Answers from memory."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        document = self._documents.get(urlsplit(http_request.url).path)
        if document is None:
            return HttpResponse(404, {}, None)
        return HttpResponse(200, {}, document.decode())


async def load_service_models(documents: Mapping[str, bytes]) -> ServiceModels:
    """The models of all services of the IGD versions whose description is among the documents (URL path -> bytes).

    Raises async-upnp-client's errors for a malformed document, LookupError for a service of
    ``protocols.igd_services`` that the description lacks. Both are defects of our own files.
    """
    factory = UpnpFactory(_Documents(documents))
    models: dict[tuple[IgdVersion, str], ServiceModel] = {}
    for igd_version in IgdVersion:
        if description_path(igd_version) not in documents:
            continue
        device = await factory.async_create_device(f"{BASE}{description_path(igd_version)}")
        loaded = {service.service_type: service for service in device.all_services}
        for service in SERVICES[igd_version]:
            models[igd_version, service.name] = _service(loaded[service.urn])
    return models


def _service(service: UpnpService) -> ServiceModel:
    return ServiceModel(
        actions={name: _action(action) for name, action in service.actions.items()},
        variables={name: variable.send_events for name, variable in service.state_variables.items()},
    )


def _action(action: UpnpAction) -> ActionModel:
    return ActionModel(
        action.name,
        inputs=tuple(_argument(argument) for argument in action.in_arguments()),
        outputs=tuple(_argument(argument) for argument in action.out_arguments()),
    )


def _argument(argument: UpnpAction.Argument) -> ArgumentModel:
    variable = argument.related_state_variable
    return ArgumentModel(
        argument.name,
        variable.name,
        DataType(variable.data_type),
        tuple(sorted(str(value) for value in variable.allowed_values)),
    )
