"""The service descriptions against section 5 of the checklist, written down here a second time by hand."""

import pytest
from lxml import etree

from tests.fixtures.fake_gateway import SERVICE_MODELS
from upnp_gw.protocols.igd.model import ActionModel, DataType, service_description, service_descriptions
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, service_of

NS = "{urn:schemas-upnp-org:service-1-0}"
BOTH = [IgdVersion.IGD1, IgdVersion.IGD2]
KEY = "NewRemoteHost:RemoteHost NewExternalPort:ExternalPort NewProtocol:PortMappingProtocol"
REST = (
    "NewInternalPort:InternalPort NewInternalClient:InternalClient NewEnabled:PortMappingEnabled "
    "NewPortMappingDescription:PortMappingDescription NewLeaseDuration:PortMappingLeaseDuration"
)
RANGE = (
    "NewStartPort:ExternalPort NewEndPort:ExternalPort NewProtocol:PortMappingProtocol NewManage:A_ARG_TYPE_Manage"
)
REQUIRED_1 = {
    "SetConnectionType": ("NewConnectionType:ConnectionType", ""),
    "GetConnectionTypeInfo": (
        "",
        "NewConnectionType:ConnectionType NewPossibleConnectionTypes:PossibleConnectionTypes",
    ),
    "RequestConnection": ("", ""),
    "ForceTermination": ("", ""),
    "GetStatusInfo": (
        "",
        "NewConnectionStatus:ConnectionStatus NewLastConnectionError:LastConnectionError NewUptime:Uptime",
    ),
    "GetNATRSIPStatus": ("", "NewRSIPAvailable:RSIPAvailable NewNATEnabled:NATEnabled"),
    "GetGenericPortMappingEntry": ("NewPortMappingIndex:PortMappingNumberOfEntries", f"{KEY} {REST}"),
    "GetSpecificPortMappingEntry": (KEY, REST),
    "AddPortMapping": (f"{KEY} {REST}", ""),
    "DeletePortMapping": (KEY, ""),
    "GetExternalIPAddress": ("", "NewExternalIPAddress:ExternalIPAddress"),
}
ONLY_2 = {
    "AddAnyPortMapping": (f"{KEY} {REST}", "NewReservedPort:ExternalPort"),
    "DeletePortMappingRange": (RANGE, ""),
    "GetListOfPortMappings": (
        f"{RANGE} NewNumberOfPorts:PortMappingNumberOfEntries",
        "NewPortListing:A_ARG_TYPE_PortListing",
    ),
}
OTHERS = {
    "Layer3Forwarding": {
        "SetDefaultConnectionService": ("NewDefaultConnectionService:DefaultConnectionService", ""),
        "GetDefaultConnectionService": ("", "NewDefaultConnectionService:DefaultConnectionService"),
    },
    "WANCommonInterfaceConfig": {
        "GetCommonLinkProperties": (
            "",
            "NewWANAccessType:WANAccessType NewLayer1UpstreamMaxBitRate:Layer1UpstreamMaxBitRate "
            "NewLayer1DownstreamMaxBitRate:Layer1DownstreamMaxBitRate "
            "NewPhysicalLinkStatus:PhysicalLinkStatus",
        ),
        "GetTotalBytesSent": ("", "NewTotalBytesSent:TotalBytesSent"),
        "GetTotalBytesReceived": ("", "NewTotalBytesReceived:TotalBytesReceived"),
        "GetTotalPacketsSent": ("", "NewTotalPacketsSent:TotalPacketsSent"),
        "GetTotalPacketsReceived": ("", "NewTotalPacketsReceived:TotalPacketsReceived"),
    },
}
EVENTED = {
    (IgdVersion.IGD1, "WANIPConnection"): {
        "PossibleConnectionTypes",
        "ConnectionStatus",
        "ExternalIPAddress",
        "PortMappingNumberOfEntries",
    },
    (IgdVersion.IGD2, "WANIPConnection"): {
        "PossibleConnectionTypes",
        "ConnectionStatus",
        "ExternalIPAddress",
        "PortMappingNumberOfEntries",
        "SystemUpdateID",
    },
    **{(igd_version, "WANCommonInterfaceConfig"): {"PhysicalLinkStatus"} for igd_version in BOTH},
    **{(igd_version, "Layer3Forwarding"): {"DefaultConnectionService"} for igd_version in BOTH},
    (IgdVersion.IGD2, "WANIPv6FirewallControl"): {"FirewallEnabled", "InboundPinholeAllowed"},
}


FIVE_TUPLE = (
    "RemoteHost:A_ARG_TYPE_IPv6Address RemotePort:A_ARG_TYPE_Port InternalClient:A_ARG_TYPE_IPv6Address "
    "InternalPort:A_ARG_TYPE_Port Protocol:A_ARG_TYPE_Protocol"
)
PINHOLES = {
    "GetFirewallStatus": (
        "",
        "FirewallEnabled:FirewallEnabled InboundPinholeAllowed:InboundPinholeAllowed",
    ),
    "GetOutboundPinholeTimeout": (FIVE_TUPLE, "OutboundPinholeTimeout:A_ARG_TYPE_OutboundPinholeTimeout"),
    "AddPinhole": (f"{FIVE_TUPLE} LeaseTime:A_ARG_TYPE_LeaseTime", "UniqueID:A_ARG_TYPE_UniqueID"),
    "UpdatePinhole": ("UniqueID:A_ARG_TYPE_UniqueID NewLeaseTime:A_ARG_TYPE_LeaseTime", ""),
    "DeletePinhole": ("UniqueID:A_ARG_TYPE_UniqueID", ""),
    "GetPinholePackets": ("UniqueID:A_ARG_TYPE_UniqueID", "PinholePackets:A_ARG_TYPE_PinholePackets"),
    "CheckPinholeWorking": ("UniqueID:A_ARG_TYPE_UniqueID", "IsWorking:A_ARG_TYPE_Boolean"),
}


def signature(action: ActionModel) -> tuple[str, str]:
    return (
        " ".join(f"{a.name}:{a.variable}" for a in action.inputs),
        " ".join(f"{a.name}:{a.variable}" for a in action.outputs),
    )


@pytest.mark.spec("IGD-016")
def test_version_1_shows_no_trace_of_version_2() -> None:
    document = service_descriptions(IgdVersion.IGD1)["/scpd/igd1/WANIPConnection.xml"]
    for word in (*ONLY_2, "SystemUpdateID", "A_ARG_TYPE", "604800"):
        assert word.encode() not in document


@pytest.mark.spec("IGD-017", "IGD-020")
def test_required_actions_with_their_arguments_in_order() -> None:
    models = SERVICE_MODELS
    required = {IgdVersion.IGD1: REQUIRED_1, IgdVersion.IGD2: REQUIRED_1 | ONLY_2}
    for igd_version in BOTH:
        actions = models[igd_version, "WANIPConnection"].actions
        assert {name: signature(actions[name]) for name in required[igd_version]} == required[igd_version]
        optional = actions.keys() - required[igd_version].keys()
        assert optional == {"GetAutoDisconnectTime", "GetIdleDisconnectTime", "GetWarnDisconnectDelay"}
        for service, expected in OTHERS.items():
            assert {n: signature(a) for n, a in models[igd_version, service].actions.items()} == expected


@pytest.mark.spec("IGD-020", "IGD-005")
def test_pinholes_are_version_2_s_with_their_arguments_in_order() -> None:
    models = SERVICE_MODELS
    actions = models[IgdVersion.IGD2, "WANIPv6FirewallControl"].actions
    assert {name: signature(action) for name, action in actions.items()} == PINHOLES
    assert (IgdVersion.IGD1, "WANIPv6FirewallControl") not in models


@pytest.mark.spec("IGD-018")
@pytest.mark.parametrize("igd_version", BOTH)
def test_documents_are_sound(igd_version: IgdVersion) -> None:
    for service in SERVICES[igd_version]:
        root = etree.fromstring(service_description(service))
        assert root.tag == f"{NS}scpd"
        variables = [e.text for e in root.iterfind(f"{NS}serviceStateTable/{NS}stateVariable/{NS}name")]
        assert len(variables) == len(set(variables)) > 0
        actions = [e.text for e in root.iterfind(f"{NS}actionList/{NS}action/{NS}name")]
        assert len(actions) == len(set(actions)) > 0
        for action in root.iterfind(f"{NS}actionList/{NS}action"):
            arguments = list(action.iterfind(f"{NS}argumentList/{NS}argument"))
            assert arguments or action.find(f"{NS}argumentList") is None
            names = [a.findtext(f"{NS}name") for a in arguments]
            assert len(names) == len(set(names))
            directions = [a.findtext(f"{NS}direction") or "" for a in arguments]
            assert directions == sorted(directions)  # "in" before "out"
            assert {a.findtext(f"{NS}relatedStateVariable") for a in arguments} <= set(variables)


@pytest.mark.spec("IGD-019")
@pytest.mark.parametrize("igd_version", BOTH)
def test_evented_variables_are_those_of_the_initial_event(igd_version: IgdVersion) -> None:
    for (of, service), names in EVENTED.items():
        if of is igd_version:
            variables = SERVICE_MODELS[igd_version, service].variables
            assert {name for name, evented in variables.items() if evented} == names


@pytest.mark.spec("IGD-021")
def test_ranges_of_version_2() -> None:
    connection = service_of(IgdVersion.IGD2, "WANIPConnection")
    assert connection is not None
    root = etree.fromstring(service_description(connection))
    ranges = {
        variable.findtext(f"{NS}name"): tuple(e.text for e in variable.iterfind(f"{NS}allowedValueRange/*"))
        for variable in root.iterfind(f"{NS}serviceStateTable/{NS}stateVariable")
    }
    assert ranges["PortMappingLeaseDuration"] == ("0", "604800")
    assert ranges["InternalPort"] == ("1", "65535")


@pytest.mark.spec("IGD-022")
@pytest.mark.parametrize("igd_version", BOTH)
def test_protocols_are_tcp_and_udp(igd_version: IgdVersion) -> None:
    arguments = {a.name: a for a in SERVICE_MODELS[igd_version, "WANIPConnection"].actions["AddPortMapping"].inputs}
    assert arguments["NewProtocol"].allowed == ("TCP", "UDP")
    assert arguments["NewExternalPort"].data_type is DataType.UI2
    assert arguments["NewLeaseDuration"].data_type is DataType.UI4
    assert arguments["NewEnabled"].data_type is DataType.BOOLEAN


@pytest.mark.spec("IGD-023")
def test_every_declared_action_has_a_row_and_every_row_is_declared_somewhere() -> None:
    models = SERVICE_MODELS
    for (_, service), model in models.items():
        assert model.actions.keys() <= ROWS[service].actions.keys()
    for service, rows in ROWS.items():
        of = [model for (_, name), model in models.items() if name == service]
        assert rows.actions.keys() == {action for model in of for action in model.actions}
        assert rows.variables.keys() <= {variable for model in of for variable in model.variables}
