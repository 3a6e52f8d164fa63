"""Sphinx reads this file to build the site. The command is docs/build.sh; tests/docs/site.py prepares the pages."""

import re
from typing import Any

project = "upnp-gw"
author = "the authors of upnp-gw"
project_copyright = "MIT licence"
extensions = ["myst_parser"]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = ["files/**"]
nitpicky = True

myst_heading_anchors = 6

html_theme = "furo"
html_title = "upnp-gw"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = []
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_permalinks_icon = "#"
html_theme_options = {"top_of_page_buttons": []}


def focusable(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """What scrolls sideways can be scrolled by keyboard."""
    body = context.get("body")
    if body:
        body = body.replace("<pre>", '<pre tabindex="0">')
        body = re.sub(r'<div class="table-wrapper([^"]*)">', r'<div class="table-wrapper\1" tabindex="0">', body)
        context["body"] = body


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-page-context", focusable, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
