"""WANIPv6FirewallControl: what is asked of the gateway, the codes in their order, and the answers."""

from ipaddress import IPv6Address, IPv6Network

import pytest

from tests.fixtures.fake_gateway import CLIENT, FakeGateway, call
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.request import Ipv6Firewall, MapRequest, PortChoice, Refusal, Refused, Source, UnmapRequest
from upnp_gw.protocols.igd.engine import Answer
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd_services import IgdVersion

HOST = "2001:db8:77::10"
PINHOLE = {
    "RemoteHost": "",
    "RemotePort": "0",
    "InternalClient": HOST,
    "InternalPort": "8080",
    "Protocol": "6",
    "LeaseTime": "600",
}
SHUT = {"disabled": (Ipv6Firewall(False, True), 702), "useless": (Ipv6Firewall(True, False), 703)}


def ask(gateway: FakeGateway, name: str, **arguments: str) -> Answer:
    return call(gateway, IgdVersion.IGD2, name, "WANIPv6FirewallControl", **arguments)


def add(gateway: FakeGateway, **changed: str) -> Answer:
    return ask(gateway, "AddPinhole", **(PINHOLE | changed))


def code(answer: Answer) -> int:
    assert isinstance(answer, Fault), answer
    return answer.code


@pytest.mark.spec("IGD-210")
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("pinholes", [True, False])
def test_the_status_is_always_answered(enabled: bool, pinholes: bool) -> None:
    gateway = FakeGateway()
    gateway.firewall6 = Ipv6Firewall(enabled, pinholes)
    answer = ask(gateway, "GetFirewallStatus")
    assert answer == {"FirewallEnabled": enabled, "InboundPinholeAllowed": pinholes}


@pytest.mark.spec("IGD-211")
def test_what_is_asked() -> None:
    gateway = FakeGateway()
    assert add(gateway, RemoteHost="2001:db8:a::2", RemotePort="443", Protocol="17") == {"UniqueID": 1}
    assert gateway.requests == [
        MapRequest(
            via=Via.IGD2,
            source=Source(CLIENT, "lan0"),
            transport=Transport.UDP,
            internal=Endpoint(IPv6Address(HOST), 8080),
            external_port=8080,
            choice=PortChoice.EXACT,
            lifetime_s=600,
            remote=IPv6Network("2001:db8:a::2"),
            remote_port=443,
            keep_description=True,
        )
    ]


@pytest.mark.spec("IGD-211")
@pytest.mark.parametrize("anyone", ["", "::", "*", " :: "])
def test_the_wildcards_of_clients(anyone: str) -> None:
    gateway = FakeGateway()
    add(gateway, RemoteHost=anyone)
    (request,) = gateway.requests
    assert isinstance(request, MapRequest)
    assert request.remote is None


@pytest.mark.spec("SR-15")
def test_an_empty_remote_port_is_any() -> None:
    """nat-port-mapper (libp2p) sends AddPinhole so."""
    gateway = FakeGateway()
    assert add(gateway, RemotePort="") == {"UniqueID": 1}
    (request,) = gateway.requests
    assert isinstance(request, MapRequest)
    assert request.remote_port == 0
    for name in ("InternalPort", "Protocol", "LeaseTime"):
        assert code(add(gateway, **{name: ""})) == 402, name


@pytest.mark.spec("IGD-214", "IGD-215")
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"InternalClient": ""}, 708),
        ({"InternalClient": "192.168.77.10"}, 600),
        ({"InternalClient": "console.example"}, 600),
        ({"InternalClient": "fe80::1%eth0"}, 600),
        ({"RemoteHost": "peer.example"}, 600),
        ({"RemoteHost": "203.0.113.9"}, 600),
        ({"Protocol": "65535"}, 707),
        ({"Protocol": "1"}, 705),
        ({"Protocol": "65536"}, 601),
        ({"InternalPort": "0"}, 706),
        ({"LeaseTime": "0"}, 402),
        ({"LeaseTime": "86401"}, 402),
        ({"LeaseTime": "soon"}, 402),
        ({"RemotePort": "-1"}, 402),
    ],
)
def test_arguments_that_no_pinhole_can_be_made_of(changed: dict[str, str], expected: int) -> None:
    gateway = FakeGateway()
    assert code(add(gateway, **changed)) == expected
    assert gateway.requests == []


@pytest.mark.spec("IGD-215")
@pytest.mark.parametrize("lease", [1, 86400])
def test_the_lease_from_its_least_to_its_most(lease: int) -> None:
    gateway = FakeGateway()
    assert add(gateway, LeaseTime=str(lease)) == {"UniqueID": 1}
    assert gateway.table[0].holds[0].requested_s == lease


@pytest.mark.spec("IGD-219")
@pytest.mark.parametrize("why", SHUT)
def test_a_firewall_that_is_off_or_lets_nothing_through(why: str) -> None:
    gateway = FakeGateway()
    add(gateway)
    gateway.firewall6, expected = SHUT[why]
    assert code(add(gateway, InternalClient="")) == expected
    for action in ("DeletePinhole", "GetPinholePackets", "CheckPinholeWorking"):
        assert code(ask(gateway, action, UniqueID="1")) == expected
    assert code(ask(gateway, "UpdatePinhole", UniqueID="1", NewLeaseTime="60")) == expected
    assert len(gateway.requests) == 1


@pytest.mark.spec("IGD-216", "IGD-217")
def test_an_unknown_unique_id_is_704_and_another_device_s_is_606() -> None:
    gateway = FakeGateway()
    add(gateway)
    gateway.hide(0)
    for number, expected in (("1", 606), ("2", 704)):
        for action in ("DeletePinhole", "GetPinholePackets", "CheckPinholeWorking"):
            assert code(ask(gateway, action, UniqueID=number)) == expected
        assert code(ask(gateway, "UpdatePinhole", UniqueID=number, NewLeaseTime="60")) == expected


@pytest.mark.spec("IGD-216")
def test_an_update_renews_the_very_pinhole_and_makes_none() -> None:
    gateway = FakeGateway()
    add(gateway, RemoteHost="2001:db8:a::2", RemotePort="443")
    assert ask(gateway, "UpdatePinhole", UniqueID="1", NewLeaseTime="86400") == {}
    request = gateway.requests[-1]
    assert isinstance(request, MapRequest)
    assert (request.remote, request.remote_port) == (IPv6Network("2001:db8:a::2"), 443)
    assert (request.lifetime_s, request.standing_only) == (86400, True)
    assert code(ask(gateway, "UpdatePinhole", UniqueID="1", NewLeaseTime="0")) == 402


@pytest.mark.spec("IGD-217")
def test_delete_names_the_pinhole_by_its_key() -> None:
    gateway = FakeGateway()
    add(gateway, RemotePort="443")
    key = gateway.table[0].key
    assert ask(gateway, "DeletePinhole", UniqueID="1") == {}
    request = gateway.requests[-1]
    assert isinstance(request, UnmapRequest)
    assert (request.key, key.remote_port) == (key, 443)
    assert code(ask(gateway, "DeletePinhole", UniqueID="1")) == 704


@pytest.mark.spec("IGD-218")
def test_packets_are_counted_and_none_is_709() -> None:
    gateway = FakeGateway()
    add(gateway)
    assert ask(gateway, "GetPinholePackets", UniqueID="1") == {"PinholePackets": 0}
    assert code(ask(gateway, "CheckPinholeWorking", UniqueID="1")) == 709
    gateway.counted = 2**33
    assert ask(gateway, "GetPinholePackets", UniqueID="1") == {"PinholePackets": 2**32 - 1}
    assert ask(gateway, "CheckPinholeWorking", UniqueID="1") == {"IsWorking": True}


def test_the_outbound_timeout_is_that_of_connection_tracking() -> None:
    gateway = FakeGateway()
    five = {name: value for name, value in PINHOLE.items() if name != "LeaseTime"}
    assert ask(gateway, "GetOutboundPinholeTimeout", **five) == {"OutboundPinholeTimeout": 432000}
    udp = ask(gateway, "GetOutboundPinholeTimeout", **(five | {"Protocol": "17"}))
    assert udp == {"OutboundPinholeTimeout": 30}
    assert code(ask(gateway, "GetOutboundPinholeTimeout", **(five | {"Protocol": "1"}))) == 705
    gateway.firewall6 = Ipv6Firewall(False, True)
    assert code(ask(gateway, "GetOutboundPinholeTimeout", **five)) == 702


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal.NOT_AUTHORIZED, 606),
        (Refusal.ASK, 606),
        (Refusal.RATE, 606),
        (Refusal.QUOTA, 701),
        (Refusal.TABLE_FULL, 701),
        (Refusal.CONFLICT, 701),
        (Refusal.NO_SUCH, 704),
        (Refusal.ABSENT, 501),
        (Refusal.BACKEND, 501),
    ],
)
def test_refusals_in_the_codes_of_this_service(refusal: Refusal, expected: int) -> None:
    gateway = FakeGateway()
    gateway.refuse = Refused(refusal, "no", None)
    assert code(add(gateway)) == expected
