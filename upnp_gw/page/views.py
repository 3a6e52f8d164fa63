"""A page: its template and values. It is served as a whole, and its live parts again when they change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jinja2

LIVE = "live_"
"""A block of a template whose name begins so is a live part; its element has the same id."""


@dataclass(frozen=True, slots=True)
class View:
    """One page as it is now."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


class Renderer:
    """Makes HTML of views."""

    def __init__(self, templates: jinja2.Environment) -> None:
        self._templates = templates

    def whole(self, view: View, **frame: object) -> str:
        """The page. ``frame``: values of the page around it, such as who is signed in."""
        return self._templates.get_template(view.template).render({**view.values, **frame})

    def parts(self, view: View) -> dict[str, str]:
        """Id -> HTML of each live part."""
        template = self._templates.get_template(view.template)
        context = template.new_context(dict(view.values))
        return {name: "".join(block(context)) for name, block in template.blocks.items() if name.startswith(LIVE)}
