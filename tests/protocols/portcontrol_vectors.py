"""The byte vectors of the checklist (docs/spec/pcp.md, section 7) as messages, for parsers and builders."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from upnp_gw.model import Transport
from upnp_gw.protocols import natpmp
from upnp_gw.protocols.pcp.messages import (
    ANY_IPV4,
    ANY_IPV6,
    Description,
    Filter,
    MapData,
    PreferFailure,
    Request,
    Response,
    ResultCode,
    ThirdParty,
    UnknownOption,
)

NONCE = bytes(range(1, 13))
HOST, HOST6 = ip_address("192.168.1.10"), ip_address("2001:db8:1::10")
EXTERNAL = IPv4Address("203.0.113.5")
TCP, UDP = Transport.TCP, Transport.UDP
FILTERED = Filter(120, 0, IPv4Address("198.51.100.0"))


def tcp_map(port: int = 80, address: IPv4Address | IPv6Address = ANY_IPV4) -> MapData:
    return MapData(NONCE, 6, 8080, port, address)


NATPMP_REQUESTS: dict[str, tuple[str, natpmp.AddressRequest | natpmp.MappingRequest]] = {
    "V01": ("0000", natpmp.AddressRequest()),
    "V03": ("000200001f90005000001c20", natpmp.MappingRequest(TCP, 8080, 80, 7200)),
    "V05": ("000200001f90000000000000", natpmp.MappingRequest(TCP, 8080, 0, 0)),
    "V07": ("000100000000000000000000", natpmp.MappingRequest(UDP, 0, 0, 0)),
}
NATPMP_RESPONSES: dict[str, tuple[str, natpmp.Response]] = {
    "V02": ("00800000000003e8cb007105", natpmp.AddressResponse(natpmp.Result.SUCCESS, 1000, EXTERNAL)),
    "V04": (
        "00820000000003e91f90005000001c20",
        natpmp.MappingResponse(natpmp.Result.SUCCESS, TCP, 1001, 8080, 80, 7200),
    ),
    "V06": (
        "00820000000003ea1f90000000000000",
        natpmp.MappingResponse(natpmp.Result.SUCCESS, TCP, 1002, 8080),
    ),
    "V08": ("00810000000003eb0000000000000000", natpmp.MappingResponse(natpmp.Result.SUCCESS, UDP, 1003, 0)),
    "V09": ("00800001000003ec", natpmp.VersionResponse(1004)),
    "V11": (
        "00820002000003ed1f90000000000000",
        natpmp.MappingResponse(natpmp.Result.REFUSED, TCP, 1005, 8080),
    ),
}

_V22 = (
    "0201000000000e1000000000000000000000ffffc0a8010a0102030405060708090a0b0c060000001f900050"
    "00000000000000000000ffff00000000"
)
PCP_REQUESTS: dict[str, tuple[str, Request]] = {
    "V20": ("020000000000000000000000000000000000ffffc0a8010a", Request(0, HOST)),
    "V22": (_V22, Request(3600, HOST, tcp_map())),
    "V25": (
        "020100000000000000000000000000000000ffffc0a8010a0102030405060708090a0b0c060000001f900000"
        "00000000000000000000ffff00000000",
        Request(0, HOST, tcp_map(0)),
    ),
    "V27": (_V22[:-8] + "cb00710502000000", Request(3600, HOST, tcp_map(80, EXTERNAL), (PreferFailure(),))),
    "V28": (
        _V22 + "030000140078000000000000000000000000ffffc6336400",
        Request(3600, HOST, tcp_map(), (FILTERED,)),
    ),
    "V29": (
        _V22
        + "030000140000000000000000000000000000000000000000"
        + "030000140080138800000000000000000000ffffc6336407",
        Request(
            3600,
            HOST,
            tcp_map(),
            (Filter(0, 0, ANY_IPV6), Filter(128, 5000, IPv4Address("198.51.100.7"))),
        ),
    ),
    "V30": (
        _V22 + "0100001000000000000000000000ffffc0a80114",
        Request(3600, HOST, tcp_map(), (ThirdParty(IPv4Address("192.168.1.20")),)),
    ),
    "V31": (
        "0201000000000e1020010db80001000000000000000000100102030405060708090a0b0c11000000c8d50000"
        "00000000000000000000000000000000",
        Request(3600, HOST6, MapData(NONCE, 17, 51413, 0, ANY_IPV6)),
    ),
    "V34": (
        "0201000000000e1000000000000000000000ffffc0a8010a0102030405060708090a0b0c11000000c3500000"
        "00000000000000000000ffff00000000820000050010c35000000000",
        Request(
            3600,
            HOST,
            MapData(NONCE, 17, 50000, 0, ANY_IPV4),
            (UnknownOption(130, bytes.fromhex("0010c35000")),),
        ),
    ),
    "V35": (_V22 + "8000000363616d00", Request(3600, HOST, tcp_map(), (Description("cam"),))),
}
PCP_RESPONSES: dict[str, tuple[str, Response]] = {
    "V21": (
        "0280000000000000000003e8000000000000000000000000",
        Response(ResultCode.SUCCESS, 0, 1000),
    ),
    "V23": (
        "0281000000000e10000003e90000000000000000000000000102030405060708090a0b0c060000001f900050"
        "00000000000000000000ffffcb007105",
        Response(ResultCode.SUCCESS, 3600, 1001, tcp_map(80, EXTERNAL)),
    ),
    "V24": (
        "0281000200000708000003ea0000000000000000000000000102030405060708090a0b0c060000001f900050"
        "00000000000000000000ffff00000000",
        Response(ResultCode.NOT_AUTHORIZED, 1800, 1002, tcp_map()),
    ),
    "V26": (
        "0281000000000000000003eb0000000000000000000000000102030405060708090a0b0c060000001f900000"
        "00000000000000000000ffff00000000",
        Response(ResultCode.SUCCESS, 0, 1003, tcp_map(0)),
    ),
    "V32": (
        "0281000000000e10000003ec0000000000000000000000000102030405060708090a0b0c11000000c8d5c8d5"
        "20010db8000100000000000000000010",
        Response(ResultCode.SUCCESS, 3600, 1004, MapData(NONCE, 17, 51413, 51413, HOST6)),
    ),
}
V10, V10_ANSWER = "0003", "0083000500000000"
V33 = (
    "0202000000000e1000000000000000000000ffffc0a8010a0102030405060708090a0b0c06000000c350000000000000"
    "000000000000ffff0000000001bb000000000000000000000000ffffc6336407"
)
V36, V36_ANSWER = "0301", "0281000100000708000003e8000000000000000000000000"
