"""Durations, times, counts and endpoints: how the command line prints and reads them."""

import re
from datetime import UTC, datetime, timedelta

LONGEST_DEVICE = 33
"""Characters of a device: a MAC address, ``@`` and the name of a LAN interface."""
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
DURATION = re.compile(r"(?:\d{1,9}[dhms])+|\d{1,9}")


def parse_duration(text: str) -> int:
    """``90``, ``90s``, ``4h``, ``1h30m``, ``7d`` -> seconds. Raises ValueError."""
    if not text.isascii() or not DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; accepted: 90s, 15m, 4h, 1h30m or 7d")
    if text.isdigit():
        return int(text)
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def duration(total_s: int) -> str:
    """Seconds in at most six characters: ``45s``, ``59m10s``, ``3h59m``, ``29d23h``."""
    for large, small in (("d", "h"), ("h", "m"), ("m", "s")):
        if total_s >= UNITS[large]:
            count, rest = divmod(total_s, UNITS[large])
            return f"{count}{large}" + (f"{rest // UNITS[small]}{small}" if rest >= UNITS[small] else "")
    return f"{total_s}s"


def count(number: int) -> str:
    """A count in at most five characters, by powers of 1000: ``999``, ``1.2k``, ``34M``."""
    value, unit = float(number), ""
    for larger in "kMGTP":
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return str(number) if not unit else f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def plural(number: int, noun: str) -> str:
    """``1 mapping``, ``2 mappings``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def age(then: datetime | None, now: datetime) -> str:
    """The time from then to now; empty if ``then`` is None."""
    return "" if then is None else duration(max(0, int((now - then).total_seconds())))


def time(then: datetime) -> str:
    """A local time: ``2026-05-01 12:00:00``."""
    return then.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def parse_time(text: str, now: datetime) -> datetime:
    """``2h`` before now, or an RFC 3339 time. Raises ValueError."""
    try:
        return now - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC)  # without an offset it is local time
    except ValueError:
        raise ValueError(f"{text!r} is not a time; accepted: 2h or 7d (ago), or 2026-05-01T12:00:00Z") from None


def endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse_endpoint(text: str) -> tuple[str, int | None]:
    """``192.168.1.23``, ``192.168.1.23:80``, ``[2001:db8::1]:80`` -> address and port. Raises ValueError."""
    from ipaddress import ip_address

    match = re.fullmatch(
        r"\[(?P<six>[^\]]+)\](?::(?P<p6>\d{1,5}))?|(?P<four>[^:]+)(?::(?P<p4>\d{1,5}))?", text, re.A
    )
    address, port = (match["six"] or match["four"], match["p6"] or match["p4"]) if match else (text, None)
    try:
        return str(ip_address(address)), None if port is None else int(port)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address; accepted: 192.168.1.23, 192.168.1.23:80 or [2001:db8::1]:80"
        ) from None
