"""Makes text of clients safe for a terminal or a log line (SR-21).

A control point may describe its mapping with any 256 characters. Characters that are not printable (controls, ESC,
line ends, bidirectional overrides and isolates, zero-width marks, lone surrogates) are escaped; then the text is
cut.
"""

from unicodedata import category, east_asian_width

SHOWN_MAX = 64
"""Most columns of client text that are shown."""

INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Invisible characters that Unicode calls letters or symbols: a name made of them would look empty."""


def shown(text: str, most: int = SHOWN_MAX) -> str:
    """The text escaped, at most ``most`` columns wide, with an ellipsis if it was cut."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return cut(text, most)
    return cut(
        "".join(_escaped(character, before) for character, before in zip(text, " " + text, strict=False)), most
    )


def _escaped(character: str, before: str) -> str:
    if character == "\\":
        return "\\\\"
    # One combining mark is an accent; many on one letter would cover the lines above and below.
    piled = _combining(character) and (_combining(before) or not before.isalpha())
    if character.isprintable() and character not in INVISIBLE and not piled:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _combining(character: str) -> bool:
    return category(character) in ("Mn", "Me")


def width(text: str) -> int:
    """Terminal columns of a printable text: wide East Asian letters need two, accents none."""
    if text.isascii():
        return len(text)
    return sum(0 if _combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, most: int) -> str:
    """The text, at most ``most`` (>= 1) columns wide, with an ellipsis if it was cut."""
    if width(text) <= most:
        return text
    kept, used = [], 0
    for character in text:
        used += width(character)
        if used > most - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"
