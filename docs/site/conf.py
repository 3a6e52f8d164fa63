"""Sphinx reads this file to build the site. The command is docs/build.sh; tests/docs/site.py prepares the pages."""

import re
from pathlib import Path
from typing import Any

project = "upnp-gw"
author = "the authors of upnp-gw"
project_copyright = "MIT licence"
extensions = ["myst_parser"]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = ["files/**"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # the word behind a fence is a kind for the tests too
smartquotes = False  # a value in quotes is to be copied

myst_heading_anchors = 6

html_theme = "furo"
html_title = "upnp-gw"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["search.js"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_permalinks_icon = "#"
html_theme_options = {"top_of_page_buttons": []}


MENDED = (
    (r"<pre>", r'<pre tabindex="0">'),
    (r'(<div class="table-wrapper[^"]*")>', r'\1 tabindex="0">'),
    (r'class="caption" role="heading">', r'class="caption" role="heading" aria-level="2">'),
    (r'<aside class="sidebar-drawer">', r'<aside class="sidebar-drawer" aria-label="Site">'),
    (r'(<aside class="toc-drawer[^"]*")>', r'\1 aria-label="This page">'),
)
"""What axe-core finds in the theme's pages: wide tables and code are scrolled by keyboard too, titles of the
navigation have a level, landmarks have names."""


def mend(app: Any, exception: Exception | None) -> None:
    for page in Path(app.outdir).rglob("*.html") if exception is None else ():
        text = page.read_text("utf-8")
        for found, mended in MENDED:
            text = re.sub(found, mended, text)
        page.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
