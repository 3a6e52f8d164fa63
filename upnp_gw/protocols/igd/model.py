"""Actions, arguments and state variables as the service descriptions (SCPD) declare them. Frozen values.

Names, order and types of arguments come only from the descriptions in ``descriptors/``, which
``protocols.igd.scpd`` reads at the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from upnp_gw.protocols.igd.descriptors import load_descriptor
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, Service, scpd_path


class DataType(StrEnum):
    """The UPnP data types in use. The value is the name in the descriptions."""

    UI2 = "ui2"
    UI4 = "ui4"
    BOOLEAN = "boolean"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class ArgumentModel:
    """An argument of an action, with the type of its related state variable."""

    name: str
    variable: str
    data_type: DataType
    allowed: tuple[str, ...] = ()
    """The allowed values of a string; empty: any."""


@dataclass(frozen=True, slots=True)
class ActionModel:
    """An action, with its arguments in the order of the messages (IGD-077)."""

    name: str
    inputs: tuple[ArgumentModel, ...]
    outputs: tuple[ArgumentModel, ...]


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """The declarations of a service of one IGD version."""

    actions: Mapping[str, ActionModel]
    variables: Mapping[str, bool]
    """State variable -> whether it is evented."""


ServiceModels = Mapping[tuple[IgdVersion, str], ServiceModel]
"""(IGD version, service name) -> its model."""


def service_description(service: Service) -> bytes:
    """The SCPD of a service, such as ``WANIPConnection2.xml``."""
    return load_descriptor(f"{service.name}{service.version}.xml")


def service_descriptions(igd_version: IgdVersion) -> dict[str, bytes]:
    """URL path -> SCPD of every service of an IGD version, in the order of ``igd_services.SERVICES``."""
    return {scpd_path(igd_version, service): service_description(service) for service in SERVICES[igd_version]}
