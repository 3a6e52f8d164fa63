"""Escapes text for XML documents, and replaces characters that XML 1.0 does not allow."""

import re

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile(r"[\w .:,;()/+-]*", re.ASCII).fullmatch
"""Most values: nothing to escape."""
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})


class Document(str):
    """An XML document as the value of an element of another one."""

    __slots__ = ()


def element_text(value: str) -> str:
    """The escaped text of an element. A ``Document`` becomes CDATA, the only form of a PortListing that miniupnpc
    reads."""
    if isinstance(value, Document):
        return f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"
    return escape(value)


def escape(text: str) -> str:
    """Text escaped once, for element content or a double-quoted attribute.

    A carriage return becomes a reference, because XML readers turn it into a newline (IGD-090). A character that
    XML 1.0 does not allow becomes U+FFFD: descriptions that come over PCP or from the operator may have some.
    """
    if _PLAIN(text):
        return text
    return _ILLEGAL.sub("\ufffd", text).translate(_ENTITIES)
