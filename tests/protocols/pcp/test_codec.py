"""PCP on the wire: vectors of the checklist both ways, the order of the checks, options, any bytes."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures import port5351_vectors as vectors
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.pcp.address import pack_address, unpack_address
from upnp_gw.protocols.pcp.codec import (
    MAX_BYTES,
    PcpError,
    build_error,
    build_request,
    build_response,
    parse_request,
    parse_response,
)
from upnp_gw.protocols.pcp.messages import (
    Description,
    MapData,
    Opcode,
    Option,
    PcpFilter,
    PreferFailure,
    Request,
    Response,
    ResultCode,
    ThirdParty,
    UnknownOption,
)

V22 = vectors.PCP_REQUESTS["V22"][0]
V20 = vectors.PCP_REQUESTS["V20"][0]
HOST = vectors.HOST

u16, u32 = st.integers(0, 65535), st.integers(0, 2**32 - 1)
addresses: st.SearchStrategy[IPAddress] = st.one_of(
    st.ip_addresses(v=4), st.builds(IPv6Address, st.integers(2**64, 2**128 - 1))
)
map_data = st.builds(MapData, st.binary(min_size=12, max_size=12), st.integers(0, 255), u16, u16, addresses)
filters = st.one_of(
    st.builds(PcpFilter, st.integers(96, 128), u16, st.ip_addresses(v=4)),
    st.builds(PcpFilter, st.integers(0, 128), u16, st.builds(IPv6Address, st.integers(2**64, 2**128 - 1))),
)
options: st.SearchStrategy[tuple[Option, ...]] = st.tuples(
    st.lists(filters, max_size=4),
    st.lists(st.builds(ThirdParty, addresses), max_size=1),
    st.lists(st.just(PreferFailure()), max_size=1),
    st.lists(st.builds(Description, st.text(max_size=60).filter(lambda t: t.isprintable())), max_size=1),
    st.lists(st.builds(UnknownOption, st.integers(129, 255), st.binary(max_size=20)), max_size=3),
).map(lambda groups: tuple(option for group in groups for option in group))


def error_of(hexa: str, source: IPAddress = HOST) -> ResultCode | str:
    try:
        parse_request(bytes.fromhex(hexa), source)
    except PcpError as error:
        return error.result
    except WireError as error:
        return error.reason
    return "parsed"


@pytest.mark.spec("PCP-001", "PCP-007", "PCP-009", "PCP-088", "PCP-102", "PCP-154")
@pytest.mark.parametrize("name", vectors.PCP_REQUESTS)
def test_request_vectors_both_ways(name: str) -> None:
    hexa, message = vectors.PCP_REQUESTS[name]
    assert parse_request(bytes.fromhex(hexa), message.client) == message
    assert build_request(message).hex() == hexa


@pytest.mark.spec("PCP-001", "PCP-007", "PCP-009", "PCP-068", "PCP-154")
@pytest.mark.parametrize("name", vectors.PCP_RESPONSES)
def test_response_vectors_both_ways(name: str) -> None:
    hexa, message = vectors.PCP_RESPONSES[name]
    assert parse_response(bytes.fromhex(hexa)) == message
    assert build_response(message).hex() == hexa


@pytest.mark.spec("PCP-083", "PCP-084")
def test_an_error_is_the_request_with_a_new_head() -> None:
    answer = build_error(bytes.fromhex(V22), ResultCode.NOT_AUTHORIZED, 1002)
    assert answer.hex() == vectors.PCP_RESPONSES["V24"][0]


@pytest.mark.spec("PCP-013", "PCP-014", "PCP-015", "PCP-024")
@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (vectors.V36, vectors.V36_ANSWER),
        ("0301" + V22[4:], "0281000100000708" + "000003e8" + V22[24:48] + V22[48:]),
        ("01" + V20[2:], "0280000100000708" + "000003e8" + V20[24:]),
    ],
)
def test_another_version_gets_our_version(sent: str, answered: str) -> None:
    assert error_of(sent) is ResultCode.UNSUPP_VERSION
    assert build_error(bytes.fromhex(sent), ResultCode.UNSUPP_VERSION, 1000).hex() == answered


UNKNOWN, BAD, MALFORMED = ResultCode.UNSUPP_OPTION, ResultCode.MALFORMED_OPTION, ResultCode.MALFORMED_REQUEST
FILTER20 = "00780000" + "00" * 10 + "ffff" + "c6336400"
ERRORS: dict[str, tuple[str, ResultCode | str]] = {
    "PCP-011 nothing": ("", "short"),
    "PCP-011 one byte": ("02", "short"),
    "PCP-012 a response": ("0281" + V22[4:], "response"),
    "PCP-018 two bytes": ("0201", "short"),
    "PCP-018 23 bytes": (V22[:46], "short"),
    "PCP-019 a MAP of 56 bytes": (V22[:112], MALFORMED),
    "PCP-020 a PEER is not served": ("0202" + V22[4:], ResultCode.UNSUPP_OPCODE),
    "PCP-021 61 bytes": (V22 + "00", MALFORMED),
    "PCP-022 1104 bytes": (V22 + "c8000410" + "00" * 1040, MALFORMED),
    "PCP-131 two bytes behind": (V22 + "0200", MALFORMED),
    "PCP-025 opcode 3": ("0203" + V22[4:], ResultCode.UNSUPP_OPCODE),
    "PCP-026 opcode 4": ("0204" + V22[4:], ResultCode.UNSUPP_OPCODE),
    "PCP-026 opcode 64": ("0240" + V22[4:], ResultCode.UNSUPP_OPCODE),
    "PCP-026 opcode 96": ("0260" + V22[4:], ResultCode.UNSUPP_OPCODE),
    "PCP-026 opcode 127": ("027f" + V22[4:], ResultCode.UNSUPP_OPCODE),
    "PCP-031 another client": (V22.replace("c0a8010a", "c0a8010b"), ResultCode.ADDRESS_MISMATCH),
    "PCP-002 another announcer": (V20.replace("c0a8010a", "c0a8010b"), ResultCode.ADDRESS_MISMATCH),
    "PCP-032 the IPv6 form": (V20.replace("ffffc0a8", "0000c0a8"), ResultCode.ADDRESS_MISMATCH),
    "PCP-033 ffff is not enough": (V20[:16] + "01" + V20[18:], ResultCode.ADDRESS_MISMATCH),
    "PCP-004 ANNOUNCE, unknown mandatory": (V20 + "64000000", UNKNOWN),
    "PCP-003 ANNOUNCE, unknown optional": (V20 + "c8000000", "parsed"),
    "PCP-108 ANNOUNCE, third party": (V20 + "01000010" + "00" * 10 + "ffffc0a80114", BAD),
    "PCP-096 prefer failure twice": (V22 + "02000000" * 2, BAD),
    "PCP-097 prefer failure with data": (V22 + "0200000400000000", BAD),
    "PCP-106 third party twice": (V22 + ("01000010" + "00" * 10 + "ffffc0a80114") * 2, BAD),
    "PCP-106 third party of 4 bytes": (V22 + "01000004c0a80114", BAD),
    "PCP-117 IPv4 prefix 95": (V22 + "03000014" + FILTER20.replace("0078", "005f", 1), BAD),
    "PCP-118 IPv4 prefix 96": (V22 + "03000014" + FILTER20.replace("0078", "0060", 1), "parsed"),
    "PCP-119 prefix 129": (V22 + "03000014" + FILTER20.replace("0078", "0081", 1), BAD),
    "PCP-121 a filter of 16 bytes": (V22 + "03000010" + "00" * 16, BAD),
    "PCP-124 one bad filter among good": (
        V22 + "03000014" + FILTER20 + "03000014" + FILTER20.replace("0078", "0081", 1),
        BAD,
    ),
    "PCP-127 option 200": (V22 + "c8000000", "parsed"),
    "PCP-128 option 100": (V22 + "64000000", UNKNOWN),
    "PCP-129 option 5": (V22 + "0500000400000000", UNKNOWN),
    "PCP-129 option 13": (V22 + "0d000000", UNKNOWN),
    "PCP-130 past the end": (V22 + "c8000008", BAD),
    "PCP-132 five bytes and padding": (V22 + "c8000005" + "aa" * 5 + "000000" + "02000000", "parsed"),
    "PCP-133 broken behind unknown": (V22 + "64000000" + "c8000008", BAD),
    "PCP-135 the reserved byte": (V22 + "02ff0000", "parsed"),
    "PCP-141 PORT_SET": (vectors.PCP_REQUESTS["V34"][0], "parsed"),
    "PCP-023 1100 bytes": (V22 + "c800040c" + "00" * 1036, "parsed"),
    "two descriptions": (V22 + "8000000161000000" * 2, BAD),
    "a description beyond its limit": (V22 + "800003fc" + "61" * 1020, BAD),
}


@pytest.mark.spec(*sorted({word for name in ERRORS for word in [name.split()[0]] if word.startswith("PCP-")}))
@pytest.mark.parametrize("name", ERRORS)
def test_each_error_is_named(name: str) -> None:
    hexa, expected = ERRORS[name]
    assert error_of(hexa) == expected


@pytest.mark.spec("PCP-146")
def test_peer_is_not_served() -> None:
    assert error_of(vectors.V33) is ResultCode.UNSUPP_OPCODE


@pytest.mark.spec("PCP-137")
def test_a_description_that_is_no_text_is_overlooked() -> None:
    message = parse_request(bytes.fromhex(V22 + "80000002fffe0000"), HOST)
    assert message.options == (UnknownOption(128, b"\xff\xfe"),)


@pytest.mark.spec("PCP-028", "PCP-029", "PCP-030", "PCP-022", "PCP-185")
@given(st.binary(min_size=2, max_size=1300), st.sampled_from([r for r in ResultCode if r]), u32)
def test_every_error_has_its_size_and_the_epoch(data: bytes, result: ResultCode, epoch_s: int) -> None:
    answer = build_error(data, result, epoch_s)
    padded = len(data) + -len(data) % 4
    assert len(answer) == min(max(24, padded), MAX_BYTES)
    assert answer[0] == 2
    assert answer[1] & 0x80
    assert answer[3] == result
    assert int.from_bytes(answer[8:12], "big") == epoch_s
    assert answer[24 : len(data)] == data[24:MAX_BYTES]
    short = {7, 8, 10, 11}
    assert int.from_bytes(answer[4:8], "big") == (30 if result in short else 1800)
    parsed = parse_response(answer)
    assert parsed.result is result


@given(st.builds(Request, u32, addresses, map_data, options))
def test_requests_come_back(message: Request) -> None:
    assert parse_request(build_request(message), message.client) == message


@given(st.builds(Response, st.just(ResultCode.SUCCESS), u32, u32, map_data, options))
def test_responses_come_back(message: Response) -> None:
    built = build_response(message)
    assert len(built) % 4 == 0
    assert parse_response(built) == message


@pytest.mark.spec("PCP-033")
@given(st.binary(min_size=16, max_size=16))
def test_addresses_come_back(packed: bytes) -> None:
    address = unpack_address(packed)
    assert pack_address(address) == packed
    assert isinstance(address, IPv4Address) == (packed[:12] == bytes(10) + b"\xff\xff")


def noise(head: str) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=80).map(lambda tail: bytes.fromhex(head) + tail + bytes(-len(tail) % 4))


@pytest.mark.spec("PCP-185")
@given(st.one_of(st.binary(max_size=1200), noise(V22), noise(V20), noise("0201")))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    for parse in (lambda: parse_request(data, HOST), lambda: parse_response(data)):
        with suppress(WireError):
            parse()


def test_options_that_do_not_fit_get_an_error() -> None:
    big = Request(0, HOST, vectors.tcp_map(), (UnknownOption(200, bytes(1100)),))
    with pytest.raises(ValueError, match="1100"):
        build_request(big)


@pytest.mark.parametrize(
    "hexa", ["", "0280", "0201" + "00" * 22, "0380000000000000" + "00" * 16, "028000ff" + "00" * 20]
)
def test_invalid_responses(hexa: str) -> None:
    with pytest.raises(WireError):
        parse_response(bytes.fromhex(hexa))


def test_opcodes_that_are_switched_off_are_unknown() -> None:
    with pytest.raises(PcpError) as caught:
        parse_request(bytes.fromhex(V22), HOST, frozenset({Opcode.ANNOUNCE}))
    assert caught.value.result is ResultCode.UNSUPP_OPCODE


@pytest.mark.spec("PCP-126")
def test_host_bits_of_a_filter_are_cut_off() -> None:
    four = PcpFilter(120, 9, IPv4Address("198.51.100.77")).peers
    six = PcpFilter(64, 0, IPv6Address("2001:db8::77")).peers
    assert (str(four.network), four.port, str(six.network)) == ("198.51.100.0/24", 9, "2001:db8::/64")
    assert PcpFilter.of(four) == PcpFilter(120, 9, ip_address("198.51.100.0"))
