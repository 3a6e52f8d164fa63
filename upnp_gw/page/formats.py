"""Times, amounts and addresses as text for people: the filters of the templates."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from upnp_gw import api
from upnp_gw.page.rendering import Texts
from upnp_gw.text.escape import shown

LONG_TEXT = 2000
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


class Formats:
    """``now``: the time that a page is made for."""

    def __init__(self, texts: Texts, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._texts = texts
        self._now = now

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Name in a template -> function. None becomes an empty text."""
        return {
            "text": text,
            "longtext": lambda value: text(value, LONG_TEXT),
            "duration": self.duration,
            "ago": self.ago,
            "ahead": self.ahead,
            "when": when,
            "iso": lambda at: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "amount": amount,
            "count": lambda number: f"{number:,}",
            "who": who,
            "external": external,
            "internal": lambda mapping: endpoint(mapping.internal_client, mapping.internal_port),
            "ports": ports,
        }

    def duration(self, seconds: int | None) -> str:
        """Two units at most: ``3 h 59 min``."""
        if seconds is None:
            return ""
        parts: list[str] = []
        rest = max(0, int(seconds))
        for unit, size in UNITS:
            if rest >= size or (unit == "s" and not parts):
                parts.append(self._texts(f"unit.{unit}", n=rest // size))
                rest %= size
            elif parts:
                break
            if len(parts) == 2:
                break
        return " ".join(parts)

    def ago(self, at: datetime | None) -> str:
        """``12 min ago``; one unit, because it is for a look."""
        if at is None:
            return self._texts("time.never")
        seconds = int((self._now() - at).total_seconds())
        return self._texts("time.now") if seconds < 5 else self._texts("time.ago", time=self._short(seconds))

    def ahead(self, at: datetime | None) -> str:
        """``in 12 min``; None: never."""
        if at is None:
            return self._texts("time.endless")
        seconds = int((at - self._now()).total_seconds())
        return self._texts("time.now") if seconds <= 0 else self._texts("time.ahead", time=self._short(seconds))

    def _short(self, seconds: int) -> str:
        unit, size = next((unit, size) for unit, size in UNITS if seconds >= size or unit == "s")
        return self._texts(f"unit.{unit}", n=seconds // size)

    def today(self, at: datetime) -> bool:
        return at > self._now() - timedelta(days=1)


def text(value: object, most: int = 120) -> str:
    """Foreign text with its invisible and turning characters made visible (SR-21). The template escapes HTML."""
    return "" if value is None else shown(str(value), most)


def when(at: datetime) -> str:
    """The gateway's local time."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def amount(number: int) -> str:
    """Bytes, by powers of 1000: ``1.2 MB``."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{number} B" if unit == "B" else f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def who(row: api.Mapping | api.Device | api.Decision | api.Question | api.Incident) -> str:
    """The name of a device, or its identifier."""
    return text(getattr(row, "device_name", None) or getattr(row, "name", None) or row.device, 60)


def external(mapping: api.Mapping) -> str:
    return f"{mapping.transport.value} {mapping.external_port}"


def ports(values: list[int | str]) -> str:
    return ", ".join(str(value).replace("-", "–") for value in values)
