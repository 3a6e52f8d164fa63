"""Our own reader of the service descriptions, against async-upnp-client's: control points read them with that."""

from urllib.parse import urlsplit

import pytest
from async_upnp_client.client import UpnpAction, UpnpRequester, UpnpService
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpRequest, HttpResponse
from lxml import etree

from tests.fixtures.fake_gateway import SERVICE_MODELS, served_documents
from upnp_gw.protocols.igd.model import ActionModel, ArgumentModel, DataType, ServiceModel, service_description
from upnp_gw.protocols.igd.scpd import read_scpd
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, description_path

DOCUMENT = service_description(SERVICES[IgdVersion.IGD2][0])


class DocumentRequester(UpnpRequester):
    """Answers with the documents that the gateway serves; sends nothing."""

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, {}, served_documents()[urlsplit(http_request.url).path].decode())


def model_of(service: UpnpService) -> ServiceModel:
    return ServiceModel(
        actions={
            name: ActionModel(name, arguments(action.in_arguments()), arguments(action.out_arguments()))
            for name, action in service.actions.items()
        },
        variables={name: variable.send_events for name, variable in service.state_variables.items()},
    )


def arguments(of: list[UpnpAction.Argument]) -> tuple[ArgumentModel, ...]:
    return tuple(
        ArgumentModel(
            argument.name,
            argument.related_state_variable.name,
            DataType(argument.related_state_variable.data_type),
            tuple(sorted(map(str, argument.related_state_variable.allowed_values))),
        )
        for argument in of
    )


@pytest.mark.spec("IGD-017", "IGD-019", "IGD-022")
@pytest.mark.parametrize("igd_version", IgdVersion)
async def test_async_upnp_client_reads_the_same_model(igd_version: IgdVersion) -> None:
    """Through the root device description, as a control point finds the services: one that is not listed fails."""
    url = f"http://127.0.0.1{description_path(igd_version)}"
    device = await UpnpFactory(DocumentRequester()).async_create_device(url)
    read = {service.service_type: model_of(service) for service in device.all_services}
    own = {service.urn: SERVICE_MODELS[igd_version, service.name] for service in SERVICES[igd_version]}
    assert read == own
    assert all(model.actions and model.variables for model in own.values())


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (b"<dataType>string</dataType>", b"", LookupError),
        (b"<dataType>string</dataType>", b"<dataType>word</dataType>", ValueError),
        (b'sendEvents="yes"', b"", LookupError),
        (b'sendEvents="yes"', b'sendEvents="1"', LookupError),
        (b"<direction>in</direction>", b"<direction>inout</direction>", LookupError),
        (b"<relatedStateVariable>D", b"<relatedStateVariable>E", LookupError),
        (b"<name>SetDefaultConnectionService</name>", b"", LookupError),
        (b"</scpd>", b"", etree.XMLSyntaxError),
    ],
)
def test_a_damaged_document_is_refused(old: bytes, new: bytes, error: type[Exception]) -> None:
    assert old in DOCUMENT
    with pytest.raises(error):
        read_scpd(DOCUMENT.replace(old, new))
