"""The whole way as a new user has it: a console asks, the question appears on the page on a phone, a yes opens the
port, a packet arrives, the chart moves, an end closes it, the packet stops. A real kernel, a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from tests.fixtures.chromium import Chromium
from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, Home, served_home
from tests.lab.igd_control_point import refused
from tests.lab.page_process import PageProcess, page_process
from tests.lab.test_approval import ASK
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

T = TypeVar("T")
PORT = 8080
PHONE = 360
SEEN_S = 15.0


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    with served_home(tmp_path, *ROUTER, policy=ASK) as home:
        yield home


@pytest.fixture
def page(home: Home, tmp_path: Path) -> Iterator[PageProcess]:
    with page_process(home, tmp_path) as page:
        yield page


def test_a_question_a_yes_a_packet_a_chart_and_an_end(home: Home, page: PageProcess, tmp_path: Path) -> None:
    def see(work: Callable[[], T]) -> T:
        """In the namespace of the gateway: the operator's page is on its loopback."""
        return home.gateway.call(work)

    url = page.link().partition("/sign-in")[0]
    browser = see(lambda: Chromium(tmp_path / "profile"))

    def shows(selector: str, words: str) -> bool:
        wait = WebDriverWait(browser.driver, SEEN_S)
        return see(lambda: bool(wait.until(lambda _: words in browser.text(selector))))

    try:
        see(lambda: browser.size(PHONE))
        see(lambda: browser.driver.get(page.link()))
        see(lambda: browser.click("button.main"))
        assert shows("main", "Overview")
        see(lambda: browser.driver.get(f"{url}/questions"))
        assert shows("main", "No question waits.")
        with EchoServer(home.console, Transport.TCP, PORT):
            with refused(606):
                home.point().add(PORT)
            assert home.shut(PORT)
            assert shows("main", "asks for"), "without a reload"
            see(lambda: browser.click(".card.question .button.main"))
            assert shows(".toml", "ext_ports = [8080]")
            see(lambda: browser.script("arguments[0].scrollIntoView({block: 'center'})", approve(browser)))
            see(lambda: browser.click("form[method=post] button.main"))
            assert shows("main", "The port is open.")
            assert home.reach(PORT)
            assert until(lambda: see(lambda: moves(browser))), "the chart shows the packet"
            see(lambda: browser.click(".button.danger"))
            assert shows("h1", "End this port")
            see(lambda: browser.click("form[method=post] button.danger"))
            assert shows("main", f"TCP {PORT} is closed.")
            assert home.shut(PORT)
        assert see(browser.complaints) == []
    finally:
        see(browser.quit)


def approve(browser: Chromium) -> object:
    return browser.driver.find_element("css selector", "form[method=post] button.main")


def moves(browser: Chromium) -> bool:
    """The line of the chart leaves the bottom."""
    return "V" in str(browser.script("return document.querySelector('.chart .line').getAttribute('d')"))
