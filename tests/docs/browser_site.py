"""The site in a real browser, from files: ``docs/build.sh --check`` builds it and runs this. It needs no server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.docs.navigation import every_page
from tests.docs.site import place_of
from tests.fixtures.chromium import Chromium, Theme
from tests.fixtures.waiting import EVENT_S

BUILT = "UPNP_GW_SITE"
"""The variable that has the directory of the site."""
WIDE = ("reference/configuration", "reference/commands", "faults", "spec/clients")
"""Pages with the widest tables and the longest words."""
LOOKED_AT = ("index", "policy-guide")
"""Pages on which axe-core looks, in both themes: picture, table, lists, code, links."""
THEMES: tuple[Theme, ...] = ("light", "dark")


@pytest.fixture(scope="module")
def site() -> Path:
    """The built site."""
    return Path(os.environ[BUILT])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    made = Chromium(tmp_path_factory.mktemp("profile"))
    yield made
    made.quit()


def opened(browser: Chromium, site: Path, page: str) -> None:
    browser.driver.get((site / f"{page}.html").as_uri())


def test_every_page_is_there_and_the_navigation_leads_to_it(site: Path) -> None:
    start = (site / "index.html").read_text("utf-8")
    for page in every_page():
        place = place_of(page).removesuffix(".md") + ".html"
        assert (site / place).is_file()
        if not place.startswith("decisions/0"):
            assert f'href="{place}"' in start or page == "README.md"


@pytest.mark.parametrize("theme", THEMES)
def test_it_is_readable_at_every_width_and_accessible_and_asks_nobody(
    site: Path, browser: Chromium, theme: Theme
) -> None:
    browser.theme(theme)
    for page in LOOKED_AT:
        for width in (360, 1280):
            browser.size(width)
            opened(browser, site, page)
            assert browser.script("return document.documentElement.scrollWidth") <= width, (page, width)
        assert browser.violations() == [], page
        assert browser.complaints() == [], page
        fetched = browser.script("return performance.getEntriesByType('resource').map((each) => each.name)")
        assert [url for url in fetched if not url.startswith(site.as_uri())] == [], page
    dark = browser.script("return getComputedStyle(document.body).backgroundColor")
    light_part = sum(map(int, dark.removeprefix("rgb(").removesuffix(")").split(",")[:3]))
    assert (light_part < 200) is (theme == "dark")


def test_a_wide_table_scrolls_and_not_the_page(site: Path, browser: Chromium) -> None:
    browser.size(360)
    for page in WIDE:
        opened(browser, site, page)
        assert browser.script("return document.documentElement.scrollWidth") <= 360, page


def test_the_search_finds_a_page_without_a_server(site: Path, browser: Chromium) -> None:
    browser.driver.get((site / "search.html").as_uri() + "?q=torrents")
    WebDriverWait(browser.driver, EVENT_S).until(lambda _: "policy-guide" in browser.driver.page_source)
    assert browser.complaints() == []


FOCUSED = (
    "const it = document.activeElement; return [it.className, it.getBoundingClientRect().x, it.textContent.trim()]"
)


def test_the_keyboard_reaches_navigation_and_tables_and_what_it_reaches_is_seen(
    site: Path, browser: Chromium
) -> None:
    def press(key: str) -> tuple[str, float, str]:
        browser.driver.switch_to.active_element.send_keys(key)
        kind, left, text = browser.script(FOCUSED)
        return str(kind), float(left), str(text)

    browser.size(360)
    opened(browser, site, "reference/configuration")
    assert press(Keys.TAB)[2] == "Skip to content"
    reached = [press(Keys.TAB) for _ in range(16)]
    assert "Set up" in [text for _, _, text in reached]
    assert all(0 <= left < 360 for _, left, _ in reached)
    opened(browser, site, "reference/configuration")
    press(Keys.TAB)
    press(Keys.ENTER)
    assert any("table-wrapper" in press(Keys.TAB)[0] for _ in range(6))
