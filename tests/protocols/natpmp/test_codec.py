"""NAT-PMP on the wire: vectors of the checklist both ways, lengths, any bytes."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import ROOT
from tests.fixtures import port5351_vectors as vectors
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.natpmp import codec as natpmp

SPEC = ROOT / "docs" / "spec" / "pcp.md"

requests = st.one_of(
    st.just(natpmp.AddressRequest()),
    st.builds(
        natpmp.MappingRequest,
        st.sampled_from(Transport),
        st.integers(0, 65535),
        st.integers(0, 65535),
        st.integers(0, 2**32 - 1),
    ),
)
u32 = st.integers(0, 2**32 - 1)
results = st.sampled_from([r for r in natpmp.NatPmpResult if r is not natpmp.NatPmpResult.UNSUPPORTED_VERSION])
responses = st.one_of(
    st.builds(natpmp.AddressResponse, st.just(natpmp.NatPmpResult.SUCCESS), u32, st.ip_addresses(v=4)),
    st.builds(natpmp.AddressResponse, results.filter(bool), u32),
    st.builds(
        natpmp.MappingResponse,
        results,
        st.sampled_from(Transport),
        u32,
        st.integers(0, 65535),
        st.integers(0, 65535),
        u32,
    ),
    st.builds(natpmp.VersionResponse, u32),
)


def test_the_vectors_are_the_checklists() -> None:
    written = dict(re.findall(r"^\| (V\d\d) \|.*\| `([0-9a-f]+)` \|$", SPEC.read_text("utf-8"), re.MULTILINE))
    own = {
        **{name: hexa for name, (hexa, _) in vectors.NATPMP_REQUESTS.items()},
        **{name: hexa for name, (hexa, _) in vectors.NATPMP_RESPONSES.items()},
        **{name: hexa for name, (hexa, _) in vectors.PCP_REQUESTS.items()},
        **{name: hexa for name, (hexa, _) in vectors.PCP_RESPONSES.items()},
        "V10": vectors.V10,
        "V33": vectors.V33,
        "V36": vectors.V36,
    }
    assert own == written


@pytest.mark.spec("PMP-001", "PMP-006", "PMP-035", "PMP-042")
@pytest.mark.parametrize("name", vectors.NATPMP_REQUESTS)
def test_request_vectors_both_ways(name: str) -> None:
    hexa, message = vectors.NATPMP_REQUESTS[name]
    assert natpmp.parse_request(bytes.fromhex(hexa)) == message
    assert natpmp.build_request(message).hex() == hexa


@pytest.mark.spec("PMP-001", "PMP-006", "PMP-035", "PMP-045", "PMP-053")
@pytest.mark.parametrize("name", vectors.NATPMP_RESPONSES)
def test_response_vectors_both_ways(name: str) -> None:
    hexa, message = vectors.NATPMP_RESPONSES[name]
    assert natpmp.parse_response(bytes.fromhex(hexa)) == message
    assert natpmp.build_response(message).hex() == hexa


@pytest.mark.spec("PMP-048", "PMP-049")
@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (vectors.V10, "00830005" + "000003e8"),
        ("0003ff", "00830005000003e8"),
        ("000312345678", "008300055678"),
        ("0003" + "aa" * 10, "00830005" + "aa" * 8),
        ("007f" + "00" * 10, "00ff0005" + "00" * 8),
    ],
)
def test_an_unknown_opcode_gets_the_request_back(sent: str, answered: str) -> None:
    message = natpmp.parse_request(bytes.fromhex(sent))
    assert isinstance(message, natpmp.UnknownRequest)
    assert natpmp.build_unsupported_opcode(message, 1000).hex() == answered


@pytest.mark.spec("PMP-050", "PMP-051", "PMP-052")
@pytest.mark.parametrize("data", ["", "00", "0080", "0081" + "00" * 10, "00ff", "0001", "0002" + "00" * 9])
def test_datagrams_without_an_answer(data: str) -> None:
    with pytest.raises(WireError):
        natpmp.parse_request(bytes.fromhex(data))


@pytest.mark.spec("PMP-005", "PMP-010")
def test_tails_and_reserved_bytes_are_ignored() -> None:
    assert natpmp.parse_request(b"\0\0\xff") == natpmp.AddressRequest()
    with_noise = bytes.fromhex("0002" + "beef" + "1f90005000001c20" + "ff" * 5)
    assert natpmp.parse_request(with_noise) == vectors.NATPMP_REQUESTS["V03"][1]


@pytest.mark.parametrize("hexa", ["00000001000003ec", "00800001000003ec", "00810001000003ec" + "00" * 8])
def test_any_servers_wrong_version_is_understood(hexa: str) -> None:
    assert natpmp.parse_response(bytes.fromhex(hexa)) == natpmp.VersionResponse(1004)


@pytest.mark.spec("PMP-003", "PMP-004")
@pytest.mark.parametrize("result", [natpmp.NatPmpResult.NETWORK_FAILURE, natpmp.NatPmpResult.REFUSED])
def test_an_error_shows_no_address(result: natpmp.NatPmpResult) -> None:
    built = natpmp.build_response(natpmp.AddressResponse(result, 7, vectors.EXTERNAL))
    assert (len(built), built[3], built[8:]) == (12, result, bytes(4))


@given(requests)
def test_requests_come_back(message: natpmp.AddressRequest | natpmp.MappingRequest) -> None:
    assert natpmp.parse_request(natpmp.build_request(message)) == message


@given(responses)
def test_responses_come_back(message: natpmp.Response) -> None:
    assert natpmp.parse_response(natpmp.build_response(message)) == message


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda tail: b"\0" + tail)))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    for parse in (natpmp.parse_request, natpmp.parse_response):
        with suppress(WireError):
            parse(data)
