"""The page on a router: what a device of the LAN sees and cannot reach, and that the internet reaches nothing."""

import http.client
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import Home, served_home
from tests.lab.page_process import LAN_PORT, OPERATOR_PORT, PageProcess, fetched, lan_answers, page_process
from upnp_gw import api

pytestmark = pytest.mark.lab

HTTP_PORT = 5000


@pytest.fixture(scope="module")
def home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Alongside: no firewall of ours keeps packets of the WAN from the page."""
    with served_home(tmp_path_factory.mktemp("d")) as home:
        home.point("console").add(3074)
        home.point("pc").add(8080)
        yield home


@pytest.fixture(scope="module")
def page(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageProcess]:
    with page_process(home, tmp_path_factory.mktemp("p")) as page:
        lan_answers(page, home.console)
        yield page


def test_a_device_sees_its_own_and_nothing_of_others(home: Home, page: PageProcess) -> None:
    seen = fetched(home.console, home.gateway.address, LAN_PORT)
    assert seen.status == 200
    assert "3074" in seen.text
    assert "8080" not in seen.text
    assert str(home.console.address) in seen.text
    assert str(home.pc.address) not in seen.text
    assert "<form" not in seen.text
    other = fetched(home.pc, home.gateway.address, LAN_PORT, X_Forwarded_For=str(home.console.address))
    assert "8080" in other.text
    assert "3074" not in other.text
    for query in (f"/?device={home.console.address}", "/?find=3074"):
        assert "3074" not in fetched(home.pc, home.gateway.address, LAN_PORT, query).text


def test_the_presentation_url_leads_there_while_the_page_runs(home: Home, tmp_path: Path) -> None:
    gateway = home.gateway.address

    def presented() -> tuple[int, str]:
        answer = fetched(home.pc, gateway, HTTP_PORT)
        return answer.status, answer.location

    with page_process(home, tmp_path, "port = 6080\nlisten = '127.0.0.1:6081'"):
        assert until(lambda: presented() == (302, f"http://{gateway}:6080/"))
    assert until(lambda: "6080" not in presented()[1])


@pytest.mark.spec("SR-45")
def test_no_route_of_the_operator_is_on_the_lan(home: Home, page: PageProcess) -> None:
    """Neither at the LAN's port, nor at the operator's, which is on the loopback."""
    gateway = home.gateway.address
    paths = ["/devices", "/mappings", "/questions", "/log", "/policy", "/sign-in", "/live/mappings", "/metrics"]
    paths += ["/mappings/m1/end", "/questions/1/approve", "/devices/console/allow", "//mappings", "/./mappings"]
    paths += [route.path.format(id="m1", device="console", number="1", rule="x") for route in api.ROUTES.values()]
    for path in paths:
        for method in ("GET", "POST", "DELETE", "PUT"):
            assert fetched(home.pc, gateway, LAN_PORT, path, method).status in (404, 405), (method, path)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert fetched(home.pc, gateway, LAN_PORT, "/", method).status == 405
    for address in (gateway, home.external):
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
            fetched(home.pc, address, OPERATOR_PORT)
    assert fetched(home.pc, gateway, LAN_PORT, Host="evil.example").status == 421
    assert len(home.rows()) == 2


@pytest.mark.spec("SR-1")
def test_nothing_of_the_page_answers_on_the_wan(home: Home, page: PageProcess) -> None:
    """Also not at the gateway's LAN address, for a host of the internet that has a route to it."""
    gateway, peer = home.gateway.address, home.peer
    home.lab.internet.ip(f"route replace {gateway}/32 via {home.external}")
    for address in (home.external, gateway):
        for port in (LAN_PORT, OPERATOR_PORT):
            with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
                fetched(peer, address, port)
    assert fetched(home.pc, gateway, LAN_PORT).status == 200


def test_the_operators_part_on_a_lan_address_is_served_over_tls_or_refused(home: Home, tmp_path: Path) -> None:
    gateway = home.gateway.address
    with page_process(home, tmp_path, f"port = 7080\nlisten = '{gateway}:7081'") as page:
        assert page.link().startswith(f"https://{gateway}:7081/sign-in/")
        assert fetched_over_tls(home, gateway, 7081) == 200
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
            fetched(home.peer, home.external, 7081)


@pytest.mark.spec("SR-45")
def test_metrics_on_a_lan_address_are_for_that_lan_alone(home: Home, tmp_path: Path) -> None:
    gateway, peer = home.gateway.address, home.peer
    home.lab.internet.ip(f"route replace {gateway}/32 via {home.external}")
    text = f"port = 8080\nlisten = '127.0.0.1:8081'\n[metrics]\nlisten = '{gateway}:9909'"
    with page_process(home, tmp_path, text):

        def answered() -> bool:
            try:
                return fetched(home.pc, gateway, 9909, "/metrics").status == 200
            except OSError:
                return False

        assert until(answered)
        for address in (home.external, gateway):
            with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
                fetched(peer, address, 9909, "/metrics")


def fetched_over_tls(home: Home, address: object, port: int) -> int:
    def fetch() -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with closing(http.client.HTTPSConnection(str(address), port, timeout=5.0, context=context)) as connection:
            connection.request("GET", "/sign-in")
            return connection.getresponse().status

    return home.pc.call(fetch)
