"""Hosts and origins of requests."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from upnp_gw.page.request_checks import from_elsewhere, host_of


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("192.168.1.1:5080", "192.168.1.1"),
        ("Router.LAN", "router.lan"),
        ("[::1]:5081", "::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("localhost:", "localhost"),
        ("", None),
        ("[::1", None),
        ("[::1]x", None),
        ("192.168.1.1:5080:1", None),
        ("192.168.1.1:٥", None),
        ("bücher.lan", None),
    ],
)
def test_the_host_without_its_port(value: str, host: str | None) -> None:
    assert host_of(value) == host


def request(**headers: str) -> web.Request:
    return make_mocked_request("POST", "/", {name.replace("_", "-"): v for name, v in headers.items()})


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({"Host": "127.0.0.1:5081"}, False),
        ({"Host": "127.0.0.1:5081", "Origin": "http://127.0.0.1:5081", "Sec_Fetch_Site": "same-origin"}, False),
        ({"Host": "127.0.0.1:5081", "Origin": "http://127.0.0.1:8000"}, True),
        ({"Host": "127.0.0.1:5081", "Origin": "null"}, True),
        ({"Host": "127.0.0.1:5081", "Sec_Fetch_Site": "same-site"}, True),
        ({"Host": "127.0.0.1:5081", "Sec_Fetch_Site": "cross-site"}, True),
        ({"Host": "127.0.0.1:5081", "Sec_Fetch_Site": "none"}, False),
    ],
)
def test_a_request_that_another_page_caused(headers: dict[str, str], elsewhere: bool) -> None:
    assert from_elsewhere(request(**headers)) == elsewhere
