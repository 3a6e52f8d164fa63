"""The status actions of all three services, and QueryStateVariable."""

from dataclasses import replace

import pytest

from tests.fixtures.fake_gateway import CLIENT, SERVICE_MODELS, FakeGateway, call, default_connection
from upnp_gw.model.request import Source
from upnp_gw.protocols.igd.engine import Caller, query, wire_text
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.igd_services import IgdVersion

L3F, COMMON = "Layer3Forwarding", "WANCommonInterfaceConfig"


def code(answer: object) -> int:
    assert isinstance(answer, Fault)
    return answer.code


@pytest.mark.parametrize("igd_version", IgdVersion)
class TestBothFaces:
    @pytest.mark.spec("IGD-100")
    def test_connection_type(self, igd_version: IgdVersion) -> None:
        assert call(FakeGateway(), igd_version, "GetConnectionTypeInfo") == {
            "NewConnectionType": "IP_Routed",
            "NewPossibleConnectionTypes": "IP_Routed",
        }

    @pytest.mark.spec("IGD-101")
    def test_status(self, igd_version: IgdVersion) -> None:
        gateway = FakeGateway()
        assert call(gateway, igd_version, "GetStatusInfo") == {
            "NewConnectionStatus": "Connected",
            "NewLastConnectionError": "ERROR_NONE",
            "NewUptime": 77,
        }
        gateway.status = replace(gateway.status, connected=False, external_address=None)
        assert call(gateway, igd_version, "GetStatusInfo") == {
            "NewConnectionStatus": "Disconnected",
            "NewLastConnectionError": "ERROR_NONE",
            "NewUptime": 0,
        }

    @pytest.mark.spec("IGD-102", "IGD-079")
    def test_nat_and_rsip(self, igd_version: IgdVersion) -> None:
        answer = call(FakeGateway(), igd_version, "GetNATRSIPStatus")
        assert not isinstance(answer, Fault)
        assert {name: wire_text(value) for name, value in answer.items()} == {
            "NewRSIPAvailable": "0",
            "NewNATEnabled": "1",
        }

    @pytest.mark.spec("IGD-103")
    def test_external_address(self, igd_version: IgdVersion) -> None:
        gateway = FakeGateway()
        assert call(gateway, igd_version, "GetExternalIPAddress") == {"NewExternalIPAddress": "198.51.100.7"}
        gateway.status = replace(gateway.status, external_address=None)
        assert call(gateway, igd_version, "GetExternalIPAddress") == {"NewExternalIPAddress": ""}

    @pytest.mark.spec("IGD-104")
    def test_link(self, igd_version: IgdVersion) -> None:
        gateway = FakeGateway()
        gateway.speed = 10**12
        assert call(gateway, igd_version, "GetCommonLinkProperties", COMMON) == {
            "NewWANAccessType": "Ethernet",
            "NewLayer1UpstreamMaxBitRate": 2**32 - 1,
            "NewLayer1DownstreamMaxBitRate": 2**32 - 1,
            "NewPhysicalLinkStatus": "Up",
        }
        gateway.status = replace(gateway.status, up=False)
        answer = call(gateway, igd_version, "GetCommonLinkProperties", COMMON)
        assert not isinstance(answer, Fault)
        assert answer["NewPhysicalLinkStatus"] == "Down"

    @pytest.mark.spec("IGD-105")
    def test_counters_wrap(self, igd_version: IgdVersion) -> None:
        gateway = FakeGateway()
        gateway.counters = (2**32 - 1, 2**32, 2**32 + 7, 5 * 2**32)
        names = ("TotalBytesSent", "TotalBytesReceived", "TotalPacketsSent", "TotalPacketsReceived")
        answers = [call(gateway, igd_version, f"Get{name}", COMMON) for name in names]
        assert answers == [{f"New{name}": value} for name, value in zip(names, (2**32 - 1, 0, 7, 0), strict=True)]

    @pytest.mark.spec("IGD-107")
    def test_the_wan_is_not_a_control_points(self, igd_version: IgdVersion) -> None:
        gateway = FakeGateway()
        assert code(call(gateway, igd_version, "ForceTermination")) == (
            606 if igd_version is IgdVersion.IGD2 else 501
        )
        answer = call(gateway, igd_version, "RequestConnection")
        assert answer == {} if igd_version is IgdVersion.IGD1 else code(answer) == 606
        gateway.status = replace(gateway.status, connected=False)
        assert code(call(gateway, igd_version, "RequestConnection")) == (
            606 if igd_version is IgdVersion.IGD2 else 501
        )
        assert gateway.requests == []

    @pytest.mark.spec("IGD-108", "IGD-109")
    def test_default_connection(self, igd_version: IgdVersion) -> None:
        gateway = FakeGateway()
        current = default_connection(igd_version)
        assert call(gateway, igd_version, "GetDefaultConnectionService", L3F) == {
            "NewDefaultConnectionService": current
        }
        device, _, service = current.partition(",")
        uuid, kind, version = device.rsplit(":", 2)
        assert uuid.startswith("uuid:")
        assert len(uuid) == 41
        assert (kind, version) == ("WANConnectionDevice", str(igd_version.version))
        assert service == "urn:upnp-org:serviceId:WANIPConn1"
        for value, expected in (
            (f"uuid:{'0' * 8}-0000-0000-0000-{'0' * 12}:{kind}:{version},{service}", 720),
            (f"{device},urn:upnp-org:serviceId:WANIPConn2", 721),
            ("", 723),
        ):
            answer = call(
                gateway, igd_version, "SetDefaultConnectionService", L3F, NewDefaultConnectionService=value
            )
            assert code(answer) == expected
        answer = call(
            gateway, igd_version, "SetDefaultConnectionService", L3F, NewDefaultConnectionService=f" {current}\n"
        )
        assert answer == {}

    @pytest.mark.spec("IGD-093")
    def test_query_state_variable(self, igd_version: IgdVersion) -> None:
        gateway = FakeGateway()
        caller = Caller(igd_version, Source(CLIENT, "lan0"), gateway, default_connection(igd_version))

        def ask(name: str) -> str | Fault:
            model = SERVICE_MODELS[igd_version, "WANIPConnection"]
            return query(ROWS["WANIPConnection"], model, caller, name)

        assert ask("ConnectionStatus") == "Connected"
        assert ask("ConnectionType") == "IP_Routed"
        assert ask("PortMappingNumberOfEntries") == "0"
        assert ask("NATEnabled") == "1"
        assert ask("SystemUpdateID") == ("5" if igd_version is IgdVersion.IGD2 else Fault(404))
        for name in ("", "RemoteHost", "NoSuch", "connectionstatus"):
            assert ask(name) == Fault(404)

    @pytest.mark.spec("IGD-023")
    def test_no_declared_action_is_invalid_or_fails_by_itself(self, igd_version: IgdVersion) -> None:
        samples = {"ui2": "7", "ui4": "7", "boolean": "1", "string": "192.168.77.10"}
        for (of, service), model in SERVICE_MODELS.items():
            if of is igd_version:
                for action in model.actions.values():
                    arguments = {a.name: samples[a.data_type.value] for a in action.inputs}
                    arguments |= {"NewProtocol": "TCP"}
                    answer = call(FakeGateway(), igd_version, action.name, service, **arguments)
                    if isinstance(answer, Fault):
                        assert answer.code not in (401, 402)
                    else:
                        assert answer.keys() == {a.name for a in action.outputs}


@pytest.mark.spec("IGD-106")
def test_connection_type_is_read_only() -> None:
    def set_type(igd_version: IgdVersion, value: str) -> int:
        return code(call(FakeGateway(), igd_version, "SetConnectionType", NewConnectionType=value))

    assert set_type(IgdVersion.IGD2, "IP_Routed") == 731
    assert set_type(IgdVersion.IGD2, "IP_Bridged") == 731
    assert set_type(IgdVersion.IGD2, "PPPoE") == 601
    assert set_type(IgdVersion.IGD1, "IP_Routed") == 501
    assert set_type(IgdVersion.IGD1, "PPPoE") == 601


@pytest.mark.spec("IGD-073")
def test_unknown_actions() -> None:
    for igd_version, name in (
        (IgdVersion.IGD1, "AddAnyPortMapping"),
        (IgdVersion.IGD2, "AddPinhole"),
        (IgdVersion.IGD2, "__init__"),
    ):
        assert code(call(FakeGateway(), igd_version, name)) == 401
