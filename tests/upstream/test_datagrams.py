"""The datagrams of PCP and NAT-PMP towards the gateway above, byte by byte, and any bytes as answers."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.gateway_above import NONCE, OUTSIDE, OWN, PINHOLE, REQUEST
from upnp_gw.model.above import AboveRequest
from upnp_gw.model.mapping import Endpoint, Transport
from upnp_gw.model.request import Refusal
from upnp_gw.protocols.natpmp import codec as natpmp_codec
from upnp_gw.protocols.natpmp.codec import MappingResponse, NatPmpResult
from upnp_gw.protocols.pcp.codec import build_error, build_response, parse_request
from upnp_gw.protocols.pcp.messages import (
    ANY_IPV4,
    MapData,
    PreferFailure,
    Request,
    Response,
    ResultCode,
    ThirdParty,
)
from upnp_gw.upstream import natpmp, pcp
from upnp_gw.upstream.outcome import Denial, Lease, NotServed

GRANTED = Endpoint(OUTSIDE, 9000)


def parsed(request: AboveRequest, lifetime_s: int = 3600, prefer_failure: bool = True) -> Request:
    return parse_request(pcp.build_map(request, OWN, lifetime_s, prefer_failure), OWN)


def response(
    result: ResultCode = ResultCode.SUCCESS,
    lifetime_s: int = 1800,
    nonce: bytes = NONCE,
    protocol: int = 6,
    internal_port: int = 8080,
) -> bytes:
    data = MapData(nonce, protocol, internal_port, GRANTED.port, GRANTED.address)
    return build_response(Response(result, lifetime_s, 77, data))


# -- requests


@pytest.mark.spec("CAS-004", "CAS-005")
def test_a_map_is_our_own_and_has_the_clients_nonce_and_suggestion() -> None:
    """Client field and internal port are ours. ``AboveRequest.nonce`` is the client's."""
    found = parsed(replace(REQUEST, external=GRANTED))
    assert (found.client, found.lifetime_s, found.options) == (OWN, 3600, ())
    assert found.map == MapData(NONCE, 6, 8080, 9000, OUTSIDE)


def test_without_a_suggestion_it_suggests_the_internal_port_at_any_address() -> None:
    assert parsed(REQUEST).map == MapData(NONCE, 6, 8080, 8080, ANY_IPV4)


@pytest.mark.spec("CAS-025")
def test_an_exact_port_has_prefer_failure_and_any_address() -> None:
    """The address above may have changed since: the port is what counts."""
    found = parsed(replace(REQUEST, exact=True, external=GRANTED))
    assert found.options == (PreferFailure(),)
    assert found.map == MapData(NONCE, 6, 8080, 9000, ANY_IPV4)
    assert parsed(replace(REQUEST, exact=True), prefer_failure=False).options == ()


def test_a_delete_has_the_same_nonce_and_no_suggestion() -> None:
    found = parsed(replace(REQUEST, exact=True, external=GRANTED), 0)
    assert (found.lifetime_s, found.options) == (0, ())
    assert found.map == MapData(NONCE, 6, 8080, 0, ANY_IPV4)


def test_a_pinhole_is_another_hosts() -> None:
    assert parsed(PINHOLE).options == (ThirdParty(PINHOLE.internal.address),)
    assert parsed(PINHOLE, 0).options == (ThirdParty(PINHOLE.internal.address),)


def test_natpmp_maps_and_deletes() -> None:
    assert natpmp.build_mapping(replace(REQUEST, external=GRANTED), 3600) == bytes.fromhex(
        "00020000 1f90 2328 00000e10"
    )
    assert natpmp.build_mapping(replace(REQUEST, external=GRANTED), 0) == bytes.fromhex(
        "00020000 1f90 0000 00000000"
    )
    udp = natpmp.build_mapping(replace(REQUEST, transport=Transport.UDP), 60)
    assert udp == bytes.fromhex("00010000 1f90 1f90 0000003c")


# -- answers of PCP


def test_a_granted_map_is_a_lease_with_its_epoch() -> None:
    found = pcp.read_map(response(), REQUEST)
    assert found == pcp.PcpAnswer(Lease(GRANTED, 1800), 77)


@pytest.mark.spec("CAS-023")
@pytest.mark.parametrize(
    "datagram",
    [
        response(nonce=b"x" * 12),
        response(protocol=17),
        response(internal_port=8081),
        response(lifetime_s=0),
        build_response(Response(ResultCode.SUCCESS, 0, 77)),
        response()[:59],
        b"",
        b"\2",
        bytes(1101),
    ],
    ids=["nonce", "transport", "port", "deleted", "announce", "cut", "empty", "one byte", "too long"],
)
def test_an_answer_to_something_else_is_none(datagram: bytes) -> None:
    assert pcp.read_map(datagram, REQUEST) is None


def test_a_delete_is_answered_by_a_lifetime_of_0_alone() -> None:
    """A late answer to the request before it is not its answer."""
    assert pcp.read_map(response(), REQUEST, delete=True) is None
    answer = pcp.read_map(response(lifetime_s=0), REQUEST, delete=True)
    assert answer is not None
    assert isinstance(answer.outcome, Lease)


DENIED = {
    ResultCode.NOT_AUTHORIZED: Refusal.NOT_AUTHORIZED,
    ResultCode.NETWORK_FAILURE: Refusal.NO_EXTERNAL_ADDRESS,
    ResultCode.NO_RESOURCES: Refusal.TABLE_FULL,
    ResultCode.UNSUPP_PROTOCOL: Refusal.UNSUPPORTED,
    ResultCode.USER_EX_QUOTA: Refusal.QUOTA,
    ResultCode.CANNOT_PROVIDE_EXTERNAL: Refusal.CONFLICT,
    ResultCode.ADDRESS_MISMATCH: Refusal.NO_EXTERNAL_ADDRESS,
    ResultCode.EXCESSIVE_REMOTE_PEERS: Refusal.UNSUPPORTED,
}


@pytest.mark.parametrize("result", [result for result in ResultCode if result is not ResultCode.SUCCESS])
def test_every_result_is_a_refusal_or_not_served(result: ResultCode) -> None:
    """By the answer of a server that copies the request into it, as it must (RFC 6887 section 8.2)."""
    answer = build_error(pcp.build_map(REQUEST, OWN, 3600), result, 77, 600)
    found = pcp.read_map(answer, REQUEST)
    assert found is not None
    if result in DENIED:
        assert isinstance(found.outcome, Denial)
        assert (found.outcome.refusal, found.outcome.retry_s) == (DENIED[result], 600)
        assert found.outcome.everything is (result is ResultCode.ADDRESS_MISMATCH)
    else:
        assert isinstance(found.outcome, NotServed)
    assert found.without_option is (result in (ResultCode.UNSUPP_OPTION, ResultCode.MALFORMED_OPTION))


def test_an_unknown_result_is_no_answer() -> None:
    answer = bytearray(response())
    answer[3] = 200
    assert pcp.read_map(bytes(answer), REQUEST) is None


@pytest.mark.spec("CAS-016")
@pytest.mark.parametrize("opcode", [0, 128])
def test_a_server_of_natpmp_alone_says_so(opcode: int) -> None:
    """With opcode 0 as the RFC prints it, or 128 as its erratum says."""
    answer = bytes((0, opcode, 0, 1)) + bytes(4)
    for found in (pcp.read_map(answer, REQUEST), pcp.read_announce(answer)):
        assert found == pcp.PcpAnswer(NotServed(pcp.ONLY_NATPMP), None)


def test_an_announce_is_answered_by_an_error_too() -> None:
    request = pcp.build_announce(OWN)
    for result in (ResultCode.NOT_AUTHORIZED, ResultCode.UNSUPP_OPCODE):
        found = pcp.read_announce(build_error(request, result, 77))
        assert found is not None
        assert not isinstance(found.outcome, NotServed), "it speaks PCP"
    found = pcp.read_announce(build_error(request, ResultCode.UNSUPP_VERSION, 77))
    assert found is not None
    assert isinstance(found.outcome, NotServed)


def test_an_update_names_its_mapping() -> None:
    found = pcp.read_update(response(), OWN)
    assert isinstance(found, tuple)
    key, nonce, outcome, epoch_s = found
    assert (key, nonce, outcome, epoch_s) == (REQUEST.key, NONCE, Lease(GRANTED, 1800), 77)
    assert pcp.read_update(build_response(Response(ResultCode.SUCCESS, 0, 78)), OWN) == 78


# -- answers of NAT-PMP


def mapped(result: NatPmpResult = NatPmpResult.SUCCESS, port: int = 8080, lifetime_s: int = 1800) -> bytes:
    return natpmp_codec.build_response(MappingResponse(result, Transport.TCP, 5, port, 9000, lifetime_s))


def test_natpmp_answers() -> None:
    assert natpmp.read_mapping(mapped(), REQUEST) == natpmp.GrantedPort(9000, 1800, 5)
    assert natpmp.read_mapping(mapped(port=1), REQUEST) is None
    assert natpmp.read_mapping(mapped(lifetime_s=0), REQUEST) is None
    assert natpmp.read_mapping(mapped(), REQUEST, delete=True) is None
    assert natpmp.read_mapping(mapped(lifetime_s=0), REQUEST, delete=True) == natpmp.GrantedPort(9000, 0, 5)
    told = natpmp_codec.build_response(natpmp_codec.AddressResponse(NatPmpResult.SUCCESS, 5, OUTSIDE))
    assert natpmp.read_address(told) == natpmp.ToldAddress(OUTSIDE, 5)
    assert natpmp.read_mapping(told, REQUEST) is None
    assert natpmp.read_address(mapped()) is None


@pytest.mark.parametrize("result", [result for result in NatPmpResult if result is not NatPmpResult.SUCCESS])
def test_every_error_of_natpmp_is_a_refusal_or_not_served(result: NatPmpResult) -> None:
    found = natpmp.read_mapping(mapped(result), REQUEST)
    if result is NatPmpResult.UNSUPPORTED_VERSION:
        assert found is None, "it answers no request of version 0"
    elif result is NatPmpResult.UNSUPPORTED_OPCODE:
        assert isinstance(found, NotServed)
    else:
        assert isinstance(found, Denial)


def test_a_server_of_pcp_alone_says_so_to_natpmp() -> None:
    answer = build_error(natpmp.ADDRESS, ResultCode.UNSUPP_VERSION, 77)
    assert isinstance(natpmp.read_address(answer), NotServed)


@given(st.binary(max_size=1200) | st.sampled_from([response(), mapped()]).map(bytes))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    for request in (REQUEST, PINHOLE):
        for delete in (False, True):
            pcp.read_map(data, request, delete)
            natpmp.read_mapping(data, request, delete)
    pcp.read_announce(data)
    natpmp.read_address(data)
    pcp.read_update(data, ip_address("192.0.2.1"))


@given(st.integers(0, 59), st.integers(0, 255))
def test_a_granted_map_with_one_other_byte_is_never_another_mappings(at: int, value: int) -> None:
    changed = bytearray(response())
    changed[at] = value
    found = pcp.read_map(bytes(changed), REQUEST)
    if found is not None and isinstance(found.outcome, Lease):
        assert bytes(changed[24:37]) == response()[24:37]
        assert bytes(changed[40:42]) == response()[40:42]
