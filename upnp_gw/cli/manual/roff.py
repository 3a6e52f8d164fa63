"""Text as roff with the macros of man(7), for man and mandoc."""

import re
import textwrap
from collections.abc import Iterable

COMMAND = re.compile(r"`([^`\n]+)`")
WORD = re.compile(r"-{1,2}[\w-]+")
"""The name of an option at the beginning of its line in a list."""


def escaped(text: str) -> str:
    """Plain text: nothing in it is a request or an escape of roff. Hyphens stay ASCII, to be pasted."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.M)


def bold(text: str) -> str:
    return rf"\fB{escaped(text)}\fP"


def italic(text: str) -> str:
    return rf"\fI{escaped(text)}\fP"


def prose(text: str) -> str:
    """One paragraph, as text that roff fills. What stands in backticks is bold."""
    parts = COMMAND.split(" ".join(text.split()))
    return filled("".join(bold(part) if at % 2 else escaped(part) for at, part in enumerate(parts)))


def filled(text: str) -> str:
    """Roff text in lines of at most 78 characters. None of them looks like a request."""
    lines = textwrap.wrap(text, 78, break_long_words=False, break_on_hyphens=False)
    return re.sub(r"^(?=[.'])", r"\\&", "\n".join(lines), flags=re.M)


def paragraph(text: str) -> str:
    """A paragraph; one that begins with ``\\b`` keeps its lines."""
    first, _, rest = text.partition("\n")
    return listing(rest) if first.strip() == "\b" else f".PP\n{prose(text)}\n"


def listing(text: str) -> str:
    """Lines that roff leaves as they are, indented."""
    return f".PP\n.RS 4\n.nf\n{escaped(text.rstrip())}\n.fi\n.RE\n"


def item(head: str, texts: Iterable[str]) -> str:
    """An entry of a list. ``head``: roff. A text after the first is a paragraph of its own."""
    first, *more = [text for text in texts if text] or [""]
    return f".TP\n{head}\n{prose(first)}\n" + "".join(f".sp\n{prose(text)}\n" for text in more)


def option(text: str) -> str:
    """``--ttl TIME`` as roff: the names of the option bold, the value italic."""
    return " ".join(bold(word) if WORD.match(word) else italic(word) for word in text.split())


def section(name: str) -> str:
    return f'.SH "{escaped(name)}"\n'


def subsection(name: str) -> str:
    return f'.SS "{escaped(name)}"\n'


def page(parts: Iterable[str]) -> str:
    """A whole page. A paragraph that follows a heading needs no macro of its own: mandoc warns of it."""
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", "".join(parts), flags=re.M)


def title(page: str, number: int, date: str, version: str) -> str:
    """The first line of a page. ``date``: as ``2026-05-01``."""
    return f'.TH "{escaped(page.upper())}" {number} "{date}" "{escaped(version)}" "upnp\\-gw"\n'
