"""The page at the presentationURL: one line, or the way to the page for people where that runs."""

from collections.abc import AsyncIterator

import pytest

from tests.fixtures.http_client import HttpFixture, body_of, header, serving, status_of
from upnp_gw.servers.http.presentation import presentation


@pytest.fixture
async def fixture() -> AsyncIterator[HttpFixture]:
    async with serving() as served:
        yield served


async def test_without_a_page_it_says_so_in_one_line(fixture: HttpFixture) -> None:
    data = await fixture.send(fixture.head("GET /", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"))
    assert status_of(data) == 200
    assert header(data, "Content-Type") == 'text/html; charset="utf-8"'
    assert header(data, "Server") == "Linux/6.1 UPnP/1.1 upnp-gw/0.1.0"
    assert b"<title>upnp-gw</title>" in body_of(data)
    assert b"upnp-gw page" in body_of(data)


async def test_a_change_of_it_is_no_method(fixture: HttpFixture) -> None:
    data = await fixture.send(fixture.head("POST /", "Content-Length: 0"))
    assert status_of(data) == 405
    assert header(data, "Allow") == "GET, HEAD"


@pytest.mark.parametrize(
    ("local", "url"),
    [
        ("192.168.1.1", b"http://192.168.1.1:5080/"),
        ("2001:db8::1", b"http://[2001:db8::1]:5080/"),
        ("fe80::1%lan0", b"http://[fe80::1]:5080/"),
    ],
)
def test_it_leads_to_the_page_at_the_address_that_the_client_uses(local: str, url: bytes) -> None:
    answer = presentation(local, 5080)
    assert (answer.status, answer.fields["LOCATION"]) == (302, url.decode())
    assert b'href="' + url + b'"' in answer.body
    assert presentation(local, 0).status == 200


async def test_the_server_asks_where_the_page_is_at_each_request(fixture: HttpFixture) -> None:
    fixture.server._page_port = lambda: 5080
    data = await fixture.send(fixture.head("GET /"))
    assert status_of(data) == 302
    assert header(data, "Location") == "http://127.0.0.1:5080/"
