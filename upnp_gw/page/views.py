"""A page: its template and values. It is served as a whole, and its live parts again when they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2

from upnp_gw.page.sessions import Notice

LIVE = "live_"
"""A block of a template whose name begins so is a live part; its element has the same id."""


@dataclass(frozen=True, slots=True)
class View:
    """One page as it is now."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """The values around every page."""

    form_token: str = ""
    """Of the session; empty: nobody is signed in."""
    section: str = ""
    """The entry of the navigation that is marked."""
    live: str = ""
    """The URL of the live parts; empty: this page has none."""
    waiting: int = 0
    """Questions that wait."""
    incidents: int = 0
    notices: Sequence[Notice] = ()
    minutes: int = 0
    """For which a sign-in link is good."""


class Renderer:
    """Makes HTML of views."""

    def __init__(self, templates: jinja2.Environment) -> None:
        self._templates = templates

    def whole(self, view: View, frame: Frame) -> str:
        return self._templates.get_template(view.template).render({**view.values, "frame": frame})

    def parts(self, view: View, frame: Frame) -> dict[str, str]:
        """Id -> HTML of each live part, also of the frame. A page without a sign-in has no navigation."""
        template = self._templates.get_template(view.template)
        context = template.new_context({**view.values, "frame": frame})
        around = self._templates.get_template("base.html").blocks if frame.form_token else {}
        blocks = {**around, **template.blocks}
        return {name: "".join(block(context)) for name, block in blocks.items() if name.startswith(LIVE)}
