"""The navigation of the site has every page, once, and each link of the staged pages leads somewhere."""

from collections import Counter
from pathlib import Path

import pytest

from tests import ROOT
from tests.docs import site
from tests.docs.blocks import marks_of
from tests.docs.navigation import RECORDS, Row, every_page, records, sections


def test_every_page_is_in_the_navigation_once() -> None:
    named = Counter(row.page for section in sections() for row in section.pages)
    named.update(row.page for row in records())
    assert set(every_page()) - set(named) == set(), "add a row to docs/README.md, or to the list of the decisions"
    assert [page for page, count in named.items() if count > 1] == []
    assert [page for page in named if not (ROOT / page).is_file()] == []


def test_the_sections_have_titles_and_pages() -> None:
    assert sections()[0].pages[0] == Row("upnp-gw", "README.md")
    assert all(section.title and section.pages for section in sections())
    assert len(records()) > 40


def test_the_pages_of_the_site_have_no_mark_and_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    site.stage(tmp_path)
    places = {site.place_of(page) for page in every_page()}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")} == places
    assert len(places) == len(every_page())
    assert [path.name for path in tmp_path.rglob("*.md") if marks_of(path.read_text("utf-8"))] == []
    assert (tmp_path / "files" / "docs" / "request.svg").is_file()
    start = (tmp_path / "index.md").read_text("utf-8")
    assert start.count("```{toctree}") == len(sections())
    assert f"<{site.place_of(RECORDS).removesuffix('.md')}>" in start


@pytest.mark.parametrize(
    ("page", "text", "made"),
    [
        ("docs/page.md", "[a](../README.md#policy)", "[a](index.md#policy)"),
        ("docs/spec/igd.md", "[a](../page.md) `[b](c)`", "[a](../page.md) `[b](c)`"),
        ("README.md", "![x](docs/request.svg)", "![x](files/docs/request.svg)"),
        ("README.md", "[![x](docs/request.svg)](docs/lab.md)", "[![x](files/docs/request.svg)](lab.md)"),
        ("docs/decisions/README.md", "[a](0001-two-root-devices.md)", "[a](0001-two-root-devices.md)"),
        ("docs/testing.md", "[a](../examples/clients)", "a"),
        ("docs/page.md", "[a](https://example.org/)", "[a](https://example.org/)"),
        ("docs/page.md", "<!-- run: pc -->\n```sh\n[a](b)\n```\n", "```sh\n[a](b)\n```\n"),
    ],
)
def test_links_are_rewritten_outside_code(page: str, text: str, made: str) -> None:
    assert site.prepared(page, text, set()) == made


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    with pytest.raises(site.BrokenLink, match=r"docs/page\.md: nowhere\.md"):
        site.prepared("docs/page.md", "[a](nowhere.md)", set())
    (tmp_path / "a.html").write_text('<a href="b.html#there">x</a><a href="c.html">y</a><img src="https://x.org/">')
    (tmp_path / "b.html").write_text('<p id="here">')
    assert site.broken_links(tmp_path) == ["a.html: b.html#there", "a.html: c.html"]


def test_a_fetch_from_elsewhere_is_found(tmp_path: Path) -> None:
    links = '<a href="https://x.org/a"></a><link rel="stylesheet" href="//x.org/b"><script src="https://x.org/c"></script>'
    (tmp_path / "a.html").write_text(links)
    (tmp_path / "a.css").write_text("@font-face{src:url(https://x.org/d)} a{background:url(d.svg)}")
    found = ["a.html: //x.org/b", "a.html: https://x.org/c", "a.css: url(https://x.org/d"]
    assert site.foreign_loads(tmp_path) == found
