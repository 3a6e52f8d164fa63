"""Text that goes into an XML document. What XML 1.0 cannot carry does not break the answer that shows it."""

import re

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})


class Document(str):
    """An XML document of ours as a value within another one."""

    __slots__ = ()


def element_text(value: str) -> str:
    """The text of an element. A ``Document`` becomes CDATA: miniupnpc reads a PortListing in no other form."""
    if isinstance(value, Document):
        return f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"
    return escape(value)


def escape(text: str) -> str:
    """Escaped once, for element content or a double-quoted attribute.

    A carriage return becomes a reference, or the reader would make it a newline (IGD-090). A character outside
    XML 1.0 (a stored description may hold one: PCP and the operator are not bound to XML) becomes U+FFFD.
    """
    return _ILLEGAL.sub("\ufffd", text).translate(_ENTITIES)
