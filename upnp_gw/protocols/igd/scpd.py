"""Reads the gateway's own service descriptions (SCPD) into the models that calls are checked against.

Tests let async-upnp-client read the same documents as a control point does, and compare the results.
"""

from collections.abc import Iterable

from lxml import etree

from upnp_gw.protocols.igd.model import (
    ActionModel,
    ArgumentModel,
    DataType,
    ServiceModel,
    ServiceModels,
    service_description,
)
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion

EVENTED = {"yes": True, "no": False}
NS = "{urn:schemas-upnp-org:service-1-0}"
_ACTIONS = f"{NS}actionList/{NS}action"
_ARGUMENTS = f"{NS}argumentList/{NS}argument"
_VARIABLES = f"{NS}serviceStateTable/{NS}stateVariable"
_ALLOWED = f"{NS}allowedValueList/{NS}allowedValue"


def service_models(igd_versions: Iterable[IgdVersion]) -> ServiceModels:
    """The model of every service of these versions. Raises what ``read_scpd`` raises."""
    return {
        (igd_version, service.name): read_scpd(service_description(service))
        for igd_version in igd_versions
        for service in SERVICES[igd_version]
    }


def read_scpd(document: bytes) -> ServiceModel:
    """Raises XMLSyntaxError, LookupError for a missing element, ValueError for an unknown data type."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
    root = etree.fromstring(document, parser)
    variables = {_text(variable, "name"): variable for variable in root.iterfind(_VARIABLES)}
    return ServiceModel(
        actions={_text(action, "name"): _action(action, variables) for action in root.iterfind(_ACTIONS)},
        variables={name: EVENTED[str(variable.attrib["sendEvents"])] for name, variable in variables.items()},
    )


def _action(action: etree._Element, variables: dict[str, etree._Element]) -> ActionModel:
    arguments: dict[str, list[ArgumentModel]] = {"in": [], "out": []}
    for argument in action.iterfind(_ARGUMENTS):
        arguments[_text(argument, "direction")].append(_argument(argument, variables))
    return ActionModel(_text(action, "name"), tuple(arguments["in"]), tuple(arguments["out"]))


def _argument(argument: etree._Element, variables: dict[str, etree._Element]) -> ArgumentModel:
    related = _text(argument, "relatedStateVariable")
    variable = variables[related]
    return ArgumentModel(
        _text(argument, "name"),
        related,
        DataType(_text(variable, "dataType")),
        tuple(sorted(value.text or "" for value in variable.iterfind(_ALLOWED))),
    )


def _text(element: etree._Element, name: str) -> str:
    text = element.findtext(f"{NS}{name}")
    if not text:
        raise LookupError(f"an element {etree.QName(element).localname} has no {name}")
    return text
