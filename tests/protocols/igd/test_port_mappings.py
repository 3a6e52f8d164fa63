"""The port-mapping actions: what is asked of the gateway, and what becomes of its replies."""

from ipaddress import IPv4Network

import pytest
from lxml import etree

from tests.fixtures.fake_gateway import (
    CLIENT,
    OTHER,
    SERVICE_MODELS,
    FakeGateway,
    call,
    default_connection,
    key_arguments,
    mapping_arguments,
)
from upnp_gw.model.mapping import Endpoint, MappingKey, Transport, Via
from upnp_gw.model.request import MapRequest, PortChoice, Source, UnmapPortRequest, UnmapRangeRequest, UnmapRequest
from upnp_gw.protocols.igd.engine import Caller, Values, perform
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.igd_services import IgdVersion

P = "{urn:schemas-upnp-org:gw:WANIPConnection}"
versions = pytest.mark.parametrize("igd_version", IgdVersion)


def add(gateway: FakeGateway, igd_version: IgdVersion = IgdVersion.IGD2, **changed: str) -> None:
    assert call(gateway, igd_version, "AddPortMapping", **mapping_arguments(**changed)) == {}


def refused(gateway: FakeGateway, igd_version: IgdVersion, name: str, **arguments: str) -> int:
    answer = call(gateway, igd_version, name, **arguments)
    assert isinstance(answer, Fault)
    return answer.code


def values(gateway: FakeGateway, igd_version: IgdVersion, name: str, **arguments: str) -> Values:
    answer = call(gateway, igd_version, name, **arguments)
    assert not isinstance(answer, Fault), answer
    return answer


def specific(gateway: FakeGateway, igd_version: IgdVersion = IgdVersion.IGD2, **changed: str) -> Values:
    return values(gateway, igd_version, "GetSpecificPortMappingEntry", **key_arguments(**changed))


@versions
@pytest.mark.spec("IGD-110", "IGD-113")
def test_what_is_asked(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version, NewRemoteHost="203.0.113.9", NewProtocol="udp", NewEnabled="no")
    assert gateway.requests == [
        MapRequest(
            via=Via.IGD1 if igd_version is IgdVersion.IGD1 else Via.IGD2,
            source=Source(CLIENT, "lan0"),
            transport=Transport.UDP,
            internal=Endpoint(CLIENT, 21001),
            external_port=21000,
            choice=PortChoice.EXACT,
            lifetime_s=600,
            remote=IPv4Network("203.0.113.9/32"),
            enabled=False,
            description="a test",
        )
    ]


@versions
@pytest.mark.spec("IGD-111", "IGD-154", "IGD-077")
def test_found_by_key_and_by_index(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version)
    entry = {
        "NewInternalPort": 21001,
        "NewInternalClient": "192.168.77.10",
        "NewEnabled": True,
        "NewPortMappingDescription": "a test",
        "NewLeaseDuration": 600,
    }
    assert specific(gateway, igd_version) == entry
    assert values(gateway, igd_version, "GetGenericPortMappingEntry", NewPortMappingIndex="0") == {
        "NewRemoteHost": "",
        "NewExternalPort": 21000,
        "NewProtocol": "TCP",
        **entry,
    }


@versions
@pytest.mark.spec("IGD-112", "IGD-124")
def test_tcp_and_udp_are_independent(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version, NewProtocol="tcp")
    add(gateway, igd_version, NewProtocol="UDP", NewInternalClient=str(OTHER))
    assert [m.key.transport for m in gateway.table] == [Transport.TCP, Transport.UDP]
    answer = values(gateway, igd_version, "GetGenericPortMappingEntry", NewPortMappingIndex="0")
    assert answer["NewProtocol"] == "TCP"


@versions
@pytest.mark.spec("IGD-114", "IGD-134")
def test_the_same_key_of_the_same_client_is_replaced(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version)
    add(
        gateway,
        igd_version,
        NewInternalPort="9",
        NewPortMappingDescription="new",
        NewLeaseDuration="1200",
        NewEnabled="0",
    )
    assert len(gateway.table) == 1
    assert specific(gateway, igd_version) == {
        "NewInternalPort": 9,
        "NewInternalClient": "192.168.77.10",
        "NewEnabled": False,
        "NewPortMappingDescription": "new",
        "NewLeaseDuration": 1200,
    }


@versions
@pytest.mark.spec("IGD-115")
def test_the_same_key_of_another_client_is_a_conflict(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version)
    before = list(gateway.table)
    arguments = mapping_arguments(NewInternalClient=str(OTHER))
    assert refused(gateway, igd_version, "AddPortMapping", **arguments) == 718
    assert gateway.table == before


@versions
@pytest.mark.spec("IGD-118", "IGD-119", "IGD-120", "IGD-153", "IGD-157")
def test_remote_hosts(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version, NewRemoteHost="203.0.113.9")
    add(gateway, igd_version, NewRemoteHost="*", NewExternalPort="21002")
    add(gateway, igd_version, NewRemoteHost="0.0.0.0", NewExternalPort="21003")
    assert refused(gateway, igd_version, "GetSpecificPortMappingEntry", **key_arguments()) == 714
    assert specific(gateway, igd_version, NewRemoteHost="203.0.113.9")["NewInternalPort"] == 21001
    assert specific(gateway, igd_version, NewExternalPort="21002")
    assert specific(gateway, igd_version, NewExternalPort="21003", NewRemoteHost="0.0.0.0")
    shown = values(gateway, igd_version, "GetGenericPortMappingEntry", NewPortMappingIndex="0")
    assert shown["NewRemoteHost"] == "203.0.113.9"
    other = key_arguments(NewExternalPort="21002", NewRemoteHost="203.0.113.9")
    assert refused(gateway, igd_version, "DeletePortMapping", **other) == 714
    other = key_arguments(NewExternalPort="21002", NewProtocol="UDP")
    assert refused(gateway, igd_version, "DeletePortMapping", **other) == 714
    assert len(gateway.table) == 3


WRONG = [
    # argument, value, version 1, version 2
    ("NewProtocol", "ICMP", 402, 601),
    ("NewInternalClient", "", 715, 715),
    ("NewInternalClient", "a-name", 402, 600),
    ("NewInternalPort", "0", 402, 732),
    ("NewInternalPort", "65536", 601, 601),
    ("NewRemoteHost", "example.org", 402, 600),
    ("NewExternalPort", "0", 716, 716),
    ("NewExternalPort", "-1", 402, 402),
    ("NewExternalPort", "x", 402, 402),
    ("NewEnabled", "maybe", 402, 402),
    ("NewLeaseDuration", "", 402, 402),
    ("NewLeaseDuration", "4294967296", 601, 601),
    ("NewPortMappingDescription", "x" * 10_000, 605, 605),
]


@pytest.mark.spec("IGD-078", "IGD-121", "IGD-122", "IGD-123", "IGD-125", "IGD-126", "IGD-127", "IGD-141")
@pytest.mark.parametrize(("name", "value", "first", "second"), WRONG)
def test_wrong_arguments_never_reach_the_gateway(name: str, value: str, first: int, second: int) -> None:
    gateway = FakeGateway()
    wrong = mapping_arguments(**{name: value})
    assert refused(gateway, IgdVersion.IGD1, "AddPortMapping", **wrong) == first
    assert refused(gateway, IgdVersion.IGD2, "AddPortMapping", **wrong) == second
    assert gateway.requests == []


@pytest.mark.spec("IGD-122", "IGD-126")
def test_the_most_specific_fault_comes_first() -> None:
    """The order of IGD section 6.1: protocol, client, internal port, remote host, external port."""
    wrong = mapping_arguments(
        NewProtocol="x", NewInternalClient="", NewInternalPort="0", NewRemoteHost="x", NewExternalPort="0"
    )
    codes = []
    for name, right in (
        ("NewProtocol", "TCP"),
        ("NewInternalClient", "x"),
        ("NewInternalClient", str(CLIENT)),
        ("NewInternalPort", "1"),
        ("NewRemoteHost", ""),
        ("NewExternalPort", "1"),
    ):
        codes.append(refused(FakeGateway(), IgdVersion.IGD2, "AddPortMapping", **wrong))
        wrong[name] = right
    assert codes == [601, 715, 600, 732, 600, 716]
    assert call(FakeGateway(), IgdVersion.IGD2, "AddPortMapping", **wrong) == {}


@pytest.mark.spec("SR-15", "IGD-074", "IGD-075")
def test_each_argument_of_each_action_missing_or_twice_is_402() -> None:
    samples = {"ui2": "7", "ui4": "7", "boolean": "1", "string": "192.168.77.10"}

    for (igd_version, service), model in SERVICE_MODELS.items():
        gateway = FakeGateway()
        caller = Caller(igd_version, Source(CLIENT, "lan0"), gateway, default_connection(igd_version))
        for action in model.actions.values():
            right = [
                (a.name, "TCP" if a.name == "NewProtocol" else samples[a.data_type.value]) for a in action.inputs
            ]
            for index in range(len(right)):
                for sent in (right[:index] + right[index + 1 :], [*right, right[index]]):
                    answer = perform(ROWS[service], model, caller, action.name, tuple(sent))
                    assert isinstance(answer, Fault)
                    assert answer.code == 402
            extra = perform(ROWS[service], model, caller, action.name, (*right, ("X", "1")))
            assert not isinstance(extra, Fault) or extra.code not in (401, 402)


@pytest.mark.spec("IGD-128", "IGD-129", "IGD-133", "IGD-135")
def test_lifetimes_asked_for() -> None:
    def requested_lifetime(igd_version: IgdVersion, lease: str) -> int | None:
        gateway = FakeGateway()
        add(gateway, igd_version, NewLeaseDuration=lease)
        request = gateway.requests[0]
        assert isinstance(request, MapRequest)
        return request.lifetime_s

    for igd_version in IgdVersion:
        assert requested_lifetime(igd_version, "0") is None
        assert requested_lifetime(igd_version, "1") == 1
        assert requested_lifetime(igd_version, "604800") == 604800
    assert requested_lifetime(IgdVersion.IGD2, "604801") == 604800
    assert requested_lifetime(IgdVersion.IGD2, "4294967295") == 604800
    assert requested_lifetime(IgdVersion.IGD1, "4294967295") == 4294967295


@pytest.mark.spec("IGD-128", "IGD-129")
def test_deviation_lifetimes_shown() -> None:
    """Deviation: version 2 shows min(remaining, 604800), version 1 the real remaining time."""
    gateway = FakeGateway()
    add(gateway, NewLeaseDuration="0")
    assert specific(gateway, IgdVersion.IGD2)["NewLeaseDuration"] == 604800
    assert specific(gateway, IgdVersion.IGD1)["NewLeaseDuration"] == 2_592_000


@versions
@pytest.mark.spec("IGD-130", "IGD-131", "IGD-132")
def test_leases_count_down_are_renewed_and_end(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version, NewLeaseDuration="3600", NewEnabled="0")
    gateway.advance(10)
    assert specific(gateway, igd_version)["NewLeaseDuration"] == 3590
    add(gateway, igd_version, NewLeaseDuration="2")
    assert specific(gateway, igd_version)["NewLeaseDuration"] == 2
    gateway.advance(2)
    assert refused(gateway, igd_version, "GetSpecificPortMappingEntry", **key_arguments()) == 714


@versions
@pytest.mark.spec("IGD-150", "IGD-151", "IGD-152")
def test_the_walk_by_index(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    for port in ("21000", "21001", "21002"):
        add(gateway, igd_version, NewExternalPort=port)

    def walk() -> list[object]:
        found: list[object] = []
        for index in range(10):
            answer = call(gateway, igd_version, "GetGenericPortMappingEntry", NewPortMappingIndex=str(index))
            if isinstance(answer, Fault):
                return [*found, answer.code]
            found.append(answer["NewExternalPort"])
        return found

    assert walk() == [21000, 21001, 21002, 713]
    assert call(gateway, igd_version, "DeletePortMapping", **key_arguments()) == {}
    assert walk() == [21001, 21002, 713]
    gateway.hide(0)
    assert walk() == [21002, 713]
    for index, code in (("65535", 713), ("65536", 601), ("-1", 402), ("x", 402)):
        assert refused(gateway, igd_version, "GetGenericPortMappingEntry", NewPortMappingIndex=index) == code


@versions
@pytest.mark.spec("IGD-155", "IGD-156")
def test_deleting_twice(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    add(gateway, igd_version)
    assert call(gateway, igd_version, "DeletePortMapping", **key_arguments()) == {}
    assert gateway.requests[-1] == UnmapRequest(
        igd_version.via, Source(CLIENT, "lan0"), MappingKey(Transport.TCP, None, 21000, None)
    )
    for action in ("DeletePortMapping", "GetSpecificPortMappingEntry"):
        assert refused(gateway, igd_version, action, **key_arguments()) == 714
        assert refused(gateway, igd_version, action, **key_arguments(NewExternalPort="0")) == 714


@versions
@pytest.mark.spec("IGD-159", "SR-25")
def test_another_devices_mapping_is_606_and_not_free(igd_version: IgdVersion) -> None:
    """weupnp takes 714 for a free port. On version 1 a deviation."""
    gateway = FakeGateway()
    add(gateway, igd_version)
    gateway.hide(0)
    assert refused(gateway, igd_version, "GetSpecificPortMappingEntry", **key_arguments()) == 606


def port_range(start: int, end: int, manage: str = "0", **changed: str) -> dict[str, str]:
    return {
        "NewStartPort": str(start),
        "NewEndPort": str(end),
        "NewProtocol": "TCP",
        "NewManage": manage,
    } | changed


@pytest.mark.spec("IGD-160", "IGD-161", "IGD-162", "IGD-164")
def test_range_delete() -> None:
    gateway = FakeGateway()
    for port in ("21000", "21001", "21010"):
        add(gateway, NewExternalPort=port)
    add(gateway, NewProtocol="UDP")
    gateway.hide(1)
    before = gateway.update_id
    assert call(gateway, IgdVersion.IGD2, "DeletePortMappingRange", **port_range(21000, 21005, "1")) == {}
    assert gateway.requests[-1] == UnmapRangeRequest(
        Via.IGD2, Source(CLIENT, "lan0"), Transport.TCP, 21000, 21005, everyone=True
    )
    assert [(m.key.transport, m.key.external_port) for m in gateway.table] == [
        (Transport.TCP, 21001),
        (Transport.TCP, 21010),
        (Transport.UDP, 21000),
    ]
    assert gateway.update_id == before + 1
    name = "DeletePortMappingRange"
    assert refused(gateway, IgdVersion.IGD2, name, **port_range(21000, 21005)) == 730
    assert refused(gateway, IgdVersion.IGD2, name, **port_range(21011, 21010)) == 733
    assert refused(gateway, IgdVersion.IGD2, name, **port_range(1, 2, NewProtocol="x")) == 601


@pytest.mark.spec("IGD-165", "IGD-168", "IGD-169")
def test_port_listing() -> None:
    gateway = FakeGateway()
    text = "]]> & <x> \"'\r\n \u00e9"
    add(gateway, NewPortMappingDescription=text, NewRemoteHost="203.0.113.9")
    gateway.advance(10)
    answer = values(gateway, IgdVersion.IGD2, "GetListOfPortMappings", **port_range(1, 65535), NewNumberOfPorts="0")
    root = etree.fromstring(str(answer["NewPortListing"]))
    assert root.tag == f"{P}PortMappingList"
    assert [(child.tag, child.text) for child in root[0]] == [
        (f"{P}NewRemoteHost", "203.0.113.9"),
        (f"{P}NewExternalPort", "21000"),
        (f"{P}NewProtocol", "TCP"),
        (f"{P}NewInternalPort", "21001"),
        (f"{P}NewInternalClient", "192.168.77.10"),
        (f"{P}NewEnabled", "1"),
        (f"{P}NewDescription", text),
        (f"{P}NewLeaseTime", "590"),
    ]


@pytest.mark.spec("IGD-166", "IGD-167")
def test_port_listing_limits_and_faults() -> None:
    gateway = FakeGateway()
    for port in ("21000", "21001", "21002"):
        add(gateway, NewExternalPort=port)

    def listed(number: str) -> int:
        arguments = port_range(21000, 21002)
        answer = values(gateway, IgdVersion.IGD2, "GetListOfPortMappings", **arguments, NewNumberOfPorts=number)
        return len(etree.fromstring(str(answer["NewPortListing"])))

    assert [listed(number) for number in ("0", "2", "9")] == [3, 2, 3]
    name, everything = "GetListOfPortMappings", {"NewNumberOfPorts": "0"}
    assert refused(gateway, IgdVersion.IGD2, name, **port_range(1, 2), **everything) == 730
    assert refused(gateway, IgdVersion.IGD2, name, **port_range(2, 1), **everything) == 733
    assert refused(gateway, IgdVersion.IGD2, name, **port_range(1, 2, NewProtocol="ICMP"), **everything) == 601
    assert refused(gateway, IgdVersion.IGD1, name, **port_range(1, 2), **everything) == 401


@pytest.mark.spec("IGD-170", "IGD-171", "IGD-172", "IGD-173", "IGD-175")
def test_add_any() -> None:
    gateway = FakeGateway()

    def reserved(**changed: str) -> object:
        return values(gateway, IgdVersion.IGD2, "AddAnyPortMapping", **mapping_arguments(**changed))[
            "NewReservedPort"
        ]

    assert reserved() == 21000
    assert reserved(NewPortMappingDescription="again") == 21000
    assert len(gateway.table) == 1
    assert reserved(NewInternalClient=str(OTHER)) == 21001
    assert reserved(NewProtocol="UDP") == 21000
    assert reserved(NewExternalPort="0") == 40000
    request = gateway.requests[-1]
    assert isinstance(request, MapRequest)
    assert (request.choice, request.external_port) == (PortChoice.SUGGESTED, 0)


@versions
@pytest.mark.spec("SR-15")
@pytest.mark.parametrize("empty", ["", " ", "\r\n"])
def test_a_delete_without_a_protocol_is_of_both(igd_version: IgdVersion, empty: str) -> None:
    """nat-port-mapper (libp2p) ends its mappings with an empty NewProtocol."""
    gateway = FakeGateway()
    for protocol in ("TCP", "UDP"):
        add(gateway, igd_version, NewProtocol=protocol)
    assert call(gateway, igd_version, "DeletePortMapping", **key_arguments(NewProtocol=empty)) == {}
    assert gateway.requests[-1] == UnmapPortRequest(igd_version.via, Source(CLIENT, "lan0"), 21000, None)
    assert gateway.table == []
    assert refused(gateway, igd_version, "DeletePortMapping", **key_arguments(NewProtocol=empty)) == 714


@versions
@pytest.mark.spec("SR-15")
def test_a_delete_without_a_protocol_is_strict_in_the_rest(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    wrong = {"NewProtocol": ""}
    assert refused(gateway, igd_version, "DeletePortMapping", **key_arguments(**wrong, NewExternalPort="0")) == 714
    assert refused(gateway, igd_version, "DeletePortMapping", **key_arguments(**wrong, NewExternalPort="")) == 402
    malformed = 600 if igd_version is IgdVersion.IGD2 else 402
    assert (
        refused(gateway, igd_version, "DeletePortMapping", **key_arguments(**wrong, NewRemoteHost="x")) == malformed
    )
    assert gateway.requests == []


@versions
@pytest.mark.spec("SR-15")
def test_no_other_action_takes_an_empty_protocol(igd_version: IgdVersion) -> None:
    gateway = FakeGateway()
    code = 601 if igd_version is IgdVersion.IGD2 else 402
    assert refused(gateway, igd_version, "AddPortMapping", **mapping_arguments(NewProtocol="")) == code
    assert refused(gateway, igd_version, "GetSpecificPortMappingEntry", **key_arguments(NewProtocol="")) == code
    if igd_version is IgdVersion.IGD2:
        ports = {"NewStartPort": "1024", "NewEndPort": "65535", "NewProtocol": "", "NewManage": "0"}
        assert refused(gateway, igd_version, "AddAnyPortMapping", **mapping_arguments(NewProtocol="")) == code
        assert refused(gateway, igd_version, "DeletePortMappingRange", **ports) == code
        assert refused(gateway, igd_version, "GetListOfPortMappings", **ports, NewNumberOfPorts="0") == code
    assert gateway.requests == []
