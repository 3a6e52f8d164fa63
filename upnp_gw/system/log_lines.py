"""The log of a process on standard error, as text or as one JSON object a line.

Text of clients is escaped in both forms: it cannot end a line, control a terminal or imitate one of our lines
(SR-21).
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from upnp_gw.text.escape import shown

LINE_MAX = 2000
"""Most columns of a text line. Our own tracebacks have fewer."""
FIELDS = (
    *("decision", "verdict", "action", "via", "device", "transport", "external_port", "internal_client"),
    *("internal_port", "rule", "refusal", "policy", "mapping", "why", "count", "description"),
)
"""Extra fields of a record, in the order of the JSON object."""


def configure(form: str, level: str, stream: TextIO | None = None) -> None:
    """Configures the log of the process. ``form``: text | json; ``level``: debug | info | warning | error."""
    output = logging.StreamHandler(stream or sys.stderr)
    output.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[output], force=True)


class TextLines(logging.Formatter):
    """``INFO upnp_gw.engine.gateway: ...``, and below it the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        decision = getattr(record, "decision", None)
        mark = f" ({decision})" if decision and decision not in record.getMessage().split() else ""
        line = f"{record.levelname} {record.name}: {shown(record.getMessage(), LINE_MAX)}{shown(mark)}"
        return line + _traceback(self, record, "\n")


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII. ``at``: RFC 3339, UTC, milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values: dict[str, Any] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in FIELDS:
            if (value := getattr(record, name, None)) is not None:
                values[name] = value
        if trace := _traceback(self, record, ""):
            values["exception"] = trace
        return json.dumps(values, ensure_ascii=True, default=str)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord, before: str) -> str:
    if not record.exc_info:
        return ""
    lines = formatter.formatException(record.exc_info).split("\n")
    return before + "\n".join(shown(line, LINE_MAX) for line in lines)
