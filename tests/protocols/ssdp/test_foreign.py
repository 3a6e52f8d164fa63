"""The control point's side of SSDP: searches, and messages of other gateways."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.ssdp.foreign import (
    FOREIGN_MAX,
    ROOT,
    ForeignMessage,
    ForeignNts,
    build_search,
    parse_foreign_message,
)
from upnp_gw.protocols.ssdp.search import parse_search

USN = f"uuid:1-2-3::{ROOT}2"
ANSWER = (
    f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nST: {ROOT}2\r\nUSN: {USN}\r\n"
    "LOCATION: http://192.168.1.1:5000/igd2.xml\r\nBOOTID.UPNP.ORG: 7\r\n\r\n"
).encode()


def notify(nts: str, *fields: str) -> bytes:
    return "\r\n".join(
        ("NOTIFY * HTTP/1.1", f"NT: {ROOT}1", f"NTS: {nts}", f"USN: {USN}", *fields, "", "")
    ).encode()


def test_our_own_server_reads_the_search() -> None:
    assert parse_search(build_search(2), multicast=True).st == f"{ROOT}2"
    found = parse_search(build_search(1, "192.168.1.1"), multicast=False)
    assert (found.st, found.wait_s) == (f"{ROOT}1", 0)
    assert b"HOST: 192.168.1.1:1900\r\n" in build_search(1, str(IPv4Address("192.168.1.1")))


def test_an_answer() -> None:
    expected = ForeignMessage(
        ForeignNts.ANSWER, f"{ROOT}2", "uuid:1-2-3", "http://192.168.1.1:5000/igd2.xml", boot_id=7
    )
    assert parse_foreign_message(ANSWER) == expected
    assert expected.igd_version == 2


def test_announcements() -> None:
    alive = parse_foreign_message(notify("ssdp:alive", "BOOTID.UPNP.ORG: 8"))
    assert (alive.nts, alive.igd_version, alive.boot_id, alive.location) == (ForeignNts.ALIVE, 1, 8, "")
    assert parse_foreign_message(notify("ssdp:byebye")).boot_id is None
    update = parse_foreign_message(notify("ssdp:update", "BOOTID.UPNP.ORG: 8", "NEXTBOOTID.UPNP.ORG: 9"))
    assert (update.boot_id, update.next_boot_id) == (8, 9)


@pytest.mark.parametrize("text", ["", "x", "-1", "1" * 11, "\u0661"])
def test_a_bad_boot_id_is_none(text: str) -> None:
    assert parse_foreign_message(notify("ssdp:alive", f"BOOTID.UPNP.ORG: {text}")).boot_id is None


@pytest.mark.parametrize(
    "data",
    [
        build_search(2),
        b"",
        notify("ssdp:hello"),
        notify("ssdp:alive").replace(b"uuid:", b"udn:"),
        notify("ssdp:alive", "LOCATION: http://\xe9/"),
        ANSWER + b"x" * FOREIGN_MAX,
    ],
    ids=["search", "empty", "nts", "usn", "location", "long"],
)
def test_what_is_no_message_of_a_device(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_foreign_message(data)


def test_other_devices_have_no_version() -> None:
    for target in (
        "upnp:rootdevice",
        f"{ROOT}3",
        ROOT,
        f"{ROOT}\u0661",
        "urn:schemas-upnp-org:device:MediaServer:1",
    ):
        message = ForeignMessage(ForeignNts.ALIVE, target, "uuid:1", "", None)
        assert message.igd_version == 0


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    for start in (b"", b"NOTIFY * HTTP/1.1\r\n", ANSWER[:-2]):
        try:
            message = parse_foreign_message(start + data)
        except WireError:
            continue
        assert len(message.location) <= 512
        assert message.location.isascii()
