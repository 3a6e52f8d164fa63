"""Repairs a description that its client did not escape or did not send in UTF-8 (docs/decisions/0022).

libminiupnpc and the programs that use it put the description between its tags as it is; other clients send Latin-1
or windows-1252, declared or not. Nothing here parses XML. If the strict parser has refused a body,
``repaired_bodies`` changes the bytes between the only pair of description tags, and the same parser reads the
result.
"""

import re
from collections.abc import Iterable, Iterator

_MENTION = re.compile(rb"</?(?:[\w.-]{1,64}:)?\w{0,64}Description", re.IGNORECASE)
_OPENS = re.compile(rb"<((?:[A-Za-z_][\w.-]{0,63}:)?\w{0,64}Description)(?:\s[^<>]*)?(?<!/)>")
_CLOSES = re.compile(rb"</((?:[A-Za-z_][\w.-]{0,63}:)?\w{0,64}Description)\s*>")
_XML_DECLARATION = re.compile(rb"<\?xml\s[^<>]{0,200}\?>")
_XML_ENCODING = re.compile(rb"""\sencoding\s*=\s*["']([\w.-]{1,32})["']""")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.-]{1,32})""", re.IGNORECASE)
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_NOT_TEXT = re.compile(
    r"<|&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)|[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
GUESSED = "cp1252"
"""Encoding of bytes that are not UTF-8, if the message declares none that is known."""
SINGLE_BYTE = {
    # These names mean windows-1252 on the web, and in the messages of real clients.
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii"), "cp1252"),
    **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(2, 12), *range(13, 17))},
    **{f"{prefix}125{page}": f"cp125{page}" for prefix in ("windows-", "cp") for page in range(9)},
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
}
"""Declared name -> codec. All have one byte for each character, and ASCII below 128. A name that a client declares
is looked up only here, not among all codecs of Python."""
UTF_8 = ("utf-8", "utf8")


def repaired_bodies(body: bytes, content_type: str) -> Iterator[bytes]:
    """The body with its description decoded, where it is not UTF-8; then with it decoded and escaped.

    Yields nothing unless there is exactly one pair of description tags and the rest is plain ASCII markup, without
    comments, CDATA, processing instructions and document type. A result differs from ``body`` only between the two
    tags, and has no tag there.
    """
    pair = _pair(body)
    if pair is None:
        return
    start, end = pair
    text, decoded = _text(body, body[start:end], content_type)
    if text is None:
        return
    if decoded and "<" not in text:
        yield body[:start] + text.encode() + body[end:]
    yield body[:start] + text.translate(_ESCAPES).encode() + body[end:]


def unreadable_argument(body: bytes, names: Iterable[str]) -> str | None:
    """The first of these arguments whose content is not XML text in UTF-8, or a description that occurs more than
    once. None: the mistake is elsewhere. ``names``: the arguments that the action declares."""
    for name in sorted(
        names, key=lambda name: name.endswith("Description")
    ):  # a raw description alone is not a mistake
        tag = re.escape(name.encode())
        opens = list(re.finditer(rb"<(?:[\w.-]{1,64}:)?%b(?:\s[^<>]*)?(?<!/)>" % tag, body))
        closes = list(re.finditer(rb"</(?:[\w.-]{1,64}:)?%b\s*>" % tag, body))
        if len(opens) == len(closes) == 1:
            if not _is_text(body[opens[0].end() : closes[0].start()]):
                return name
        elif opens and closes and name.endswith("Description"):
            return name
    return None


def _pair(body: bytes) -> tuple[int, int] | None:
    """Start and end of the content of the only description."""
    mentions = [match.start() for match in _MENTION.finditer(body)]
    if len(mentions) != 2:
        return None
    opens, closes = _OPENS.match(body, mentions[0]), _CLOSES.match(body, mentions[1])
    if opens is None or closes is None or opens[1] != closes[1] or opens.end() > closes.start():
        return None
    declared = _XML_DECLARATION.match(body)
    before, after = body[declared.end() if declared else 0 : opens.start()], body[closes.end() :]
    if any(b"<!" in part or b"<?" in part for part in (before, after)):
        return None
    if not body[: opens.end()].isascii() or not after.isascii():
        return None
    return opens.end(), closes.start()


def _text(body: bytes, content: bytes, content_type: str) -> tuple[str | None, bool]:
    """(the content as text or None if its encoding is unknown, True if it is not UTF-8)"""
    try:
        return content.decode(), False
    except UnicodeDecodeError:
        pass
    declared = _CHARSET.search(content_type), _XML_DECLARATION.match(body)
    charset = declared[0][1].lower() if declared[0] else ""
    in_xml = _XML_ENCODING.search(declared[1][0]) if declared[1] else None
    names = [name for name in (charset, in_xml[1].decode().lower() if in_xml else "") if name not in ("", *UTF_8)]
    if names and names[0] not in SINGLE_BYTE:
        return None, True
    return content.decode(SINGLE_BYTE[names[0]] if names else GUESSED, "replace"), True


def _is_text(content: bytes) -> bool:
    try:
        return not _NOT_TEXT.search(content.decode())
    except UnicodeDecodeError:
        return False
