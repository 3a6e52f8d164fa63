"""The log of a process: a line is a line, JSON is JSON, and nothing in it controls a terminal."""

import io
import json
import logging

import pytest

from tests.fixtures.log_output import EVIL, lines
from upnp_gw.system import log_lines

__all__ = ["lines"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_logged_with_its_traceback(lines: io.StringIO, form: str) -> None:
    log_lines.configure(form, "info", lines)
    try:
        raise RuntimeError(EVIL)
    except RuntimeError:
        logging.getLogger("upnp_gw.x").exception("it failed")
    written = lines.getvalue()
    assert "RuntimeError" in written
    assert "\x1b" not in written
    if form == "json":
        assert "Traceback" in json.loads(written)["exception"]
