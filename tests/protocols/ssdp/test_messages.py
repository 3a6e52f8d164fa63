"""Announcements and answers as bytes: the notify set and the headers (IGD sections 2.1, 2.2, 2.4, 2.5)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.fixtures.ssdp_devices import V1, V2, VOICE, taken_apart
from upnp_gw.protocols.igd.description import RootDevice
from upnp_gw.protocols.igd_services import SERVICES, Level
from upnp_gw.protocols.ssdp import (
    SsdpTarget,
    build_alive,
    build_answer,
    build_byebye,
    build_update,
    notify_set,
    server_token,
)

OWN = IPv4Address("192.168.77.1")
GROUP = "239.255.255.250:1900"

both = pytest.mark.parametrize("root", [V1, V2], ids=["igd1", "igd2"])


@both
@pytest.mark.spec("IGD-031", "IGD-032", "IGD-033")
def test_the_set_is_three_two_two_and_the_services(root: RootDevice) -> None:
    igd, wan, wcd = (root.udns[level] for level in Level)
    v = root.igd_version.version
    device, service = "urn:schemas-upnp-org:device:", "urn:schemas-upnp-org:service:"
    firewall = f"{service}WANIPv6FirewallControl:1"
    assert [(row.nt, row.usn) for row in notify_set(root)] == [
        ("upnp:rootdevice", f"{igd}::upnp:rootdevice"),
        (igd, igd),
        (f"{device}InternetGatewayDevice:{v}", f"{igd}::{device}InternetGatewayDevice:{v}"),
        (wan, wan),
        (f"{device}WANDevice:{v}", f"{wan}::{device}WANDevice:{v}"),
        (wcd, wcd),
        (f"{device}WANConnectionDevice:{v}", f"{wcd}::{device}WANConnectionDevice:{v}"),
        (f"{service}Layer3Forwarding:1", f"{igd}::{service}Layer3Forwarding:1"),
        (f"{service}WANCommonInterfaceConfig:1", f"{wan}::{service}WANCommonInterfaceConfig:1"),
        (f"{service}WANIPConnection:{v}", f"{wcd}::{service}WANIPConnection:{v}"),
        *([(firewall, f"{wcd}::{firewall}")] if v == 2 else []),
    ]
    assert len(notify_set(root)) == 7 + len(SERVICES[root.igd_version])


@both
@pytest.mark.spec("IGD-034", "IGD-035", "IGD-036", "IGD-011")
def test_alive(root: RootDevice) -> None:
    for row in notify_set(root):
        start, headers = taken_apart(build_alive(VOICE, row, group=GROUP, own=OWN, boot_id=7))
        assert start == "NOTIFY * HTTP/1.1"
        assert headers == {
            "HOST": GROUP,
            "CACHE-CONTROL": "max-age=1800",
            "LOCATION": f"http://192.168.77.1:5000/{root.igd_version.value}.xml",
            "NT": row.nt,
            "NTS": "ssdp:alive",
            "SERVER": headers["SERVER"],
            "USN": row.usn,
            "BOOTID.UPNP.ORG": "7",
            "CONFIGID.UPNP.ORG": str(root.config_id),
        }
        system, upnp, product = headers["SERVER"].split(" ")
        assert (system, upnp) == ("Linux/6.1", "UPnP/1.1")
        assert product.startswith("upnp-gw/")
    assert f'configId="{root.config_id}"'.encode() in root.description


@both
@pytest.mark.spec("IGD-042")
def test_byebye_has_no_location(root: RootDevice) -> None:
    for row in notify_set(root):
        start, headers = taken_apart(build_byebye(row, group=GROUP, boot_id=7))
        assert start == "NOTIFY * HTTP/1.1"
        assert headers == {
            "HOST": GROUP,
            "NT": row.nt,
            "NTS": "ssdp:byebye",
            "USN": row.usn,
            "BOOTID.UPNP.ORG": "7",
            "CONFIGID.UPNP.ORG": str(root.config_id),
        }


@both
def test_update_names_the_next_boot_id(root: RootDevice) -> None:
    row = notify_set(root)[0]
    start, headers = taken_apart(build_update(VOICE, row, group=GROUP, own=OWN, boot_id=7, next_boot_id=9))
    assert start == "NOTIFY * HTTP/1.1"
    assert headers["NTS"] == "ssdp:update"
    assert (headers["BOOTID.UPNP.ORG"], headers["NEXTBOOTID.UPNP.ORG"]) == ("7", "9")
    assert headers["LOCATION"] == f"http://192.168.77.1:5000/{root.igd_version.value}.xml"
    assert "CACHE-CONTROL" not in headers


@both
@pytest.mark.spec("IGD-057")
def test_answer(root: RootDevice) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    for row in notify_set(root):
        message = build_answer(VOICE, row, own=OWN, boot_id=7, wall=at.timestamp())
        start, headers = taken_apart(message)
        assert start == "HTTP/1.1 200 OK"
        assert parsedate_to_datetime(headers.pop("DATE")) == at
        assert headers == {
            "CACHE-CONTROL": "max-age=1800",
            "EXT": "",
            "LOCATION": f"http://192.168.77.1:5000/{root.igd_version.value}.xml",
            "SERVER": VOICE.server,
            "ST": row.nt,
            "USN": row.usn,
            "BOOTID.UPNP.ORG": "7",
            "CONFIGID.UPNP.ORG": str(root.config_id),
        }
        assert b"\r\nEXT:\r\n" in message


@pytest.mark.spec("IGD-064")
def test_ipv6_location_has_brackets_and_no_zone() -> None:
    own = IPv6Address("fe80::1%eth0")
    assert VOICE.location(V1, IPv6Address(own.packed)) == "http://[fe80::1]:5000/igd1.xml"


@pytest.mark.parametrize("month", range(1, 13))
def test_date_for_every_month_and_weekday(month: int) -> None:
    row = notify_set(V1)[0]
    for day in range(1, 8):
        at = datetime(2026, month, day, 23, 59, 59, tzinfo=UTC)
        _, headers = taken_apart(build_answer(VOICE, row, own=OWN, boot_id=1, wall=at.timestamp() + 0.5))
        assert parsedate_to_datetime(headers["DATE"]) == at
        assert headers["DATE"].startswith(at.strftime("%a, %d %b %Y"))


@pytest.mark.parametrize(
    ("release", "token"),
    [("6.18.44-fc", "Linux/6.18"), ("5.4", "Linux/5.4"), ("odd\r\nX: y", "Linux/0"), ("", "Linux/0")],
)
@pytest.mark.spec("IGD-036")
def test_server_has_three_tokens_for_any_kernel_release(release: str, token: str) -> None:
    assert server_token(release).split(" ")[0] == token
    assert len(server_token(release).split(" ")) == 3


def test_a_line_break_can_never_be_sent() -> None:
    with pytest.raises(ValueError, match="NT cannot be sent"):
        build_byebye(SsdpTarget(V1, "a\r\nLOCATION: http://x", "usn"), group=GROUP, boot_id=1)
