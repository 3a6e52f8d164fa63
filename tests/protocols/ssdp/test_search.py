"""M-SEARCH: what is a search, what is dropped, what is found (IGD section 2.5)."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import ROOT
from tests.fixtures.ssdp_devices import EVERY, V1, V2, search
from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd.description import RootDevice
from upnp_gw.protocols.igd_services import Level
from upnp_gw.protocols.ssdp import Search, matching_targets, notify_set, parse_search

CAPTURES = [
    (case["client"], case["bytes"].encode("latin-1"))
    for line in (ROOT / "tests" / "captures" / "captures.jsonl").read_text("utf-8").splitlines()
    if (case := json.loads(line))["kind"] == "ssdp"
]
IGD = "urn:schemas-upnp-org:device:InternetGatewayDevice"
IP = "urn:schemas-upnp-org:service:WANIPConnection"
COMMON = "urn:schemas-upnp-org:service:WANCommonInterfaceConfig"
FORWARDING = "urn:schemas-upnp-org:service:Layer3Forwarding"

GOOD = search("ssdp:all")


def changed(old: str, new: str, message: bytes = GOOD) -> bytes:
    assert old.encode() in message
    return message.replace(old.encode(), new.encode("latin-1"))


@pytest.mark.spec("IGD-058")
@pytest.mark.parametrize(
    "message",
    [
        GOOD,
        changed("MAN: ", "man:"),
        changed('"ssdp:discover"', "ssdp:discover"),
        changed('"ssdp:discover"', "ssdp:discover").removesuffix(b"\r\n"),
        changed("ST: ", "sT:\t "),
        changed("MX: 2", "Mx:2 "),
        changed("HOST: 239.255.255.250:1900\r\n", ""),
        GOOD + b"\r\n",
        GOOD.replace(b"\r\n", b"\n"),
        GOOD.removesuffix(b"\r\n"),
        GOOD.replace(b"\r\n\r\n", b"\r\nUSER-AGENT: B\xfcro/1 UPnP/1.1 x/1\r\n\r\n"),
        GOOD + b"body that nobody asked for: \x00",
    ],
)
def test_searches_as_clients_write_them(message: bytes) -> None:
    assert parse_search(message, multicast=True) == Search("ssdp:all", 2)


@pytest.mark.spec("IGD-052", "IGD-061", "IGD-062", "SR-11")
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "not-a-search"),
        (b"\x00" * 512, "not-a-search"),
        (b"NOTIFY * HTTP/1.1\r\n\r\n", "not-a-search"),
        (b"HTTP/1.1 200 OK\r\nST: ssdp:all\r\n\r\n", "not-a-search"),
        (changed("HTTP/1.1", "HTTP/1.10"), "not-a-search"),
        (changed("M-SEARCH", "m-search"), "not-a-search"),
        (changed("* HTTP", "/ HTTP"), "not-a-search"),
        (changed('MAN: "ssdp:discover"\r\n', ""), "bad-man"),
        (changed('"ssdp:discover"', '"ssdp:foo"'), "bad-man"),
        (changed('"ssdp:discover"', "'ssdp:discover'"), "bad-man"),
        (changed('"ssdp:discover"', '"ssdp:discover'), "bad-man"),
        (changed('"ssdp:discover"', '""ssdp:discover""'), "bad-man"),
        (changed("ST: ssdp:all\r\n", ""), "bad-st"),
        (changed("ST: ssdp:all", "ST:"), "bad-st"),
        (changed("ST: ssdp:all", "ST: ssdp: all"), "bad-st"),
        (changed("ST: ssdp:all", "ST: ssdp\xe4all"), "bad-st"),
        (changed("ssdp:all", "x" * 257), "bad-st"),
        (changed("MX: 2\r\n", ""), "bad-mx"),
        (changed("MX: 2", "MX:"), "bad-mx"),
        (changed("MX: 2", "MX: abc"), "bad-mx"),
        (changed("MX: 2", "MX: -1"), "bad-mx"),
        (changed("MX: 2", "MX: +2"), "bad-mx"),
        (changed("MX: 2", "MX: 2.5"), "bad-mx"),
        (changed("MX: 2", "MX: \xb2"), "bad-mx"),
        (changed("MX: 2", "MX: 2\r\nMX: 3"), "repeated-header"),
        (changed("ST: ssdp:all", "ST: ssdp:all\r\nSt: upnp:rootdevice"), "repeated-header"),
        (changed("MX: 2", "MX 2"), "bad-header"),
        (changed("MX: 2", "MX : 2"), "bad-header"),
        (changed("MX: 2", " MX: 2"), "bad-header"),
        (changed("ST: ssdp:all", "ST: ssdp:all\x00"), "bad-header"),
        (changed("ST: ssdp:all", "ST: ssdp:all\rLOCATION: x"), "bad-header"),
        (GOOD + b"x" * 1024, "too-long"),
    ],
)
def test_invalid_searches(message: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_search(message, multicast=True)
    assert caught.value.reason == reason


@pytest.mark.spec("IGD-054", "IGD-055", "SR-11")
@pytest.mark.parametrize(
    ("mx", "wait_s"), [("0", 0), ("1", 1), ("5", 5), ("6", 5), ("10", 5), ("120", 5), ("9999999999", 5)]
)
def test_wait_is_clamped(mx: str, wait_s: int) -> None:
    assert parse_search(search("ssdp:all", mx=mx), multicast=True).wait_s == wait_s
    assert parse_search(search("ssdp:all", mx=mx), multicast=False).wait_s == 0


@pytest.mark.spec("IGD-055")
@pytest.mark.parametrize("mx", [None, "", "abc"])
def test_unicast_needs_no_mx(mx: str | None) -> None:
    assert parse_search(search("ssdp:all", mx=mx), multicast=False) == Search("ssdp:all", 0)


@pytest.mark.spec("SR-11")
def test_a_long_header_is_refused_within_a_time_that_grows_with_its_length() -> None:
    message = changed("MX: 2\r\n", "MX:" + " " * 850 + "\x01\r\n")
    began = time.thread_time()
    for _ in range(20):
        with pytest.raises(WireError, match="bad-header"):
            parse_search(message, multicast=True)
    assert time.thread_time() - began < 0.02


@pytest.mark.spec("IGD-062")
@given(st.binary(max_size=2000), st.booleans())
@example(GOOD, True)
def test_any_bytes_are_a_search_or_an_error(data: bytes, multicast: bool) -> None:
    one_or_the_other(data, multicast)


LINES = st.lists(
    st.sampled_from(
        ["HOST: x", 'MAN: "ssdp:discover"', "MX: 1", "MX:", "ST: ssdp:all", "ST:a b", "", "X", "X: \x01", "\xff: 1"]
    )
)


@given(LINES, st.sampled_from(["\r\n", "\n", "\r"]), st.booleans())
def test_any_lines_are_a_search_or_an_error(lines: list[str], end: str, multicast: bool) -> None:
    one_or_the_other(end.join(["M-SEARCH * HTTP/1.1", *lines]).encode("latin-1"), multicast)


def one_or_the_other(data: bytes, multicast: bool) -> None:
    try:
        found = parse_search(data, multicast=multicast)
    except WireError:
        return
    assert 0 <= found.wait_s <= 5
    assert found.st.isascii()
    assert found.st.isprintable()
    for row in matching_targets(found.st, (V1, V2)):
        assert row.nt


BOTH, ONE, TWO = (V1, V2), (V1,), (V2,)


@pytest.mark.spec("IGD-048", "IGD-049", "IGD-050")
@pytest.mark.parametrize(
    ("roots", "target", "answered_by", "level"),
    [
        (BOTH, f"{IGD}:1", V1, Level.ROOT),
        (BOTH, f"{IGD}:2", V2, Level.ROOT),
        (BOTH, f"{IP}:1", V1, Level.CONNECTION),
        (BOTH, f"{IP}:2", V2, Level.CONNECTION),
        (BOTH, f"{COMMON}:1", V1, Level.WAN),
        (BOTH, f"{FORWARDING}:1", V1, Level.ROOT),
        (TWO, f"{IGD}:1", V2, Level.ROOT),
        (TWO, f"{IGD}:2", V2, Level.ROOT),
        (TWO, f"{IP}:1", V2, Level.CONNECTION),
        (TWO, f"{COMMON}:1", V2, Level.WAN),
        (ONE, f"{IGD}:1", V1, Level.ROOT),
        (ONE, f"{IGD}:2", None, Level.ROOT),
        (ONE, f"{IP}:2", None, Level.CONNECTION),
    ],
)
def test_a_typed_search_is_answered_by_one_root_with_the_version_asked_for(
    roots: tuple[RootDevice, ...], target: str, answered_by: RootDevice | None, level: Level
) -> None:
    found = matching_targets(target, roots)
    if answered_by is None:
        assert found == ()
    else:
        (row,) = found
        assert row.root is answered_by
        assert row.nt == target
        assert row.usn == f"{answered_by.udns[level]}::{target}"


@pytest.mark.spec("IGD-047", "IGD-051")
@pytest.mark.parametrize(
    "target",
    [
        f"{IGD}:3",
        f"{COMMON}:2",
        f"{IGD}:0",
        f"{IGD}:01",
        f"{IGD}:",
        IGD,
        f"{IGD}:1x",
        f"{IGD}:1:",
        f"{IGD}:-1",
        f"{IGD}:99999999999999999999",
        f"{IP.upper()}:1",
        f"{IP}:1".replace("WANIP", "wanip"),
        "urn:schemas-upnp-org:service:WANPPPConnection:1",
        "urn:schemas-upnp-org:device:WANIPConnection:1",
        "urn:example-org:service:WANIPConnection:1",
        "ssdp:All",
        "UPNP:rootdevice",
        "uuid:",
        "uuid:11111111-2222-4333-8444-555555555555",
        f"{V1.udns[Level.ROOT]}x",
        f"{V1.udns[Level.ROOT]}::upnp:rootdevice",
        V1.udns[Level.ROOT].removeprefix("uuid:"),
    ],
)
def test_searches_for_other_types_are_not_answered(target: str) -> None:
    assert matching_targets(target, BOTH) == ()


@pytest.mark.spec("IGD-044")
@pytest.mark.parametrize("roots", [BOTH, ONE, TWO])
def test_all_is_answered_by_every_row_once(roots: tuple[RootDevice, ...]) -> None:
    found = matching_targets("ssdp:all", roots)
    assert list(found) == [row for root in roots for row in notify_set(root)]
    assert len({row.usn for row in found}) == len(found) == sum(10 if root is V1 else 11 for root in roots)


@pytest.mark.spec("IGD-045")
@pytest.mark.parametrize("roots", [BOTH, ONE, TWO])
def test_rootdevice_is_answered_once_by_the_lowest(roots: tuple[RootDevice, ...]) -> None:
    (row,) = matching_targets("upnp:rootdevice", roots)
    assert row.root is roots[0]
    assert row.nt == "upnp:rootdevice"


@pytest.mark.spec("IGD-046")
@pytest.mark.parametrize("root", BOTH)
@pytest.mark.parametrize("level", Level)
def test_each_device_answers_for_its_uuid(root: RootDevice, level: Level) -> None:
    udn = root.udns[level]
    (row,) = matching_targets(udn, BOTH)
    assert (row.root, row.nt, row.usn) == (root, udn, udn)
    (upper,) = matching_targets("uuid:" + udn.removeprefix("uuid:").upper(), BOTH)
    assert upper.usn == udn


PPP = "urn:schemas-upnp-org:service:WANPPPConnection:1"


@pytest.mark.spec("IGD-058")
@pytest.mark.parametrize(("client", "message"), CAPTURES, ids=[client for client, _ in CAPTURES])
def test_captured_searches_get_what_their_client_needs(client: str, message: bytes) -> None:
    found = parse_search(message, multicast=True)
    rows = matching_targets(found.st, BOTH)
    expected = {"ssdp:all": EVERY, PPP: 0}.get(found.st, 1)
    assert len(rows) == expected, client
    assert {row.nt for row in rows} >= ({found.st} if expected == 1 else set())
    if expected == 1:
        assert rows[0].root is (V2 if found.st.endswith(":2") else V1), f"{client} searched {found.st}"


def test_there_are_captures() -> None:
    assert len(CAPTURES) >= 10
