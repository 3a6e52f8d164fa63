"""What no message to a person may have in it: words of schemas and of Python, and regular expressions."""

import re

SCHEMA_WORDS = (
    *("Expected", "expected", "array", "object", "null", "None", "str", "bool", "dict", "tuple", "datetime"),
    *("RFC3339", "enum", "regex", "struct", "Struct", "dataclass", "msgspec", "pydantic", "ValidationError"),
    *("ValueError", "TypeError", "Traceback", "True", "False", "PosixPath", "validation", "instance", "integer"),
)
RAW = re.compile(
    rf"\b(?:{'|'.join(SCHEMA_WORDS)})\b"
    r"|`|\$\.|\s\|\s|<class|\(\?|\[\^|\[A-Z|\[a-z|\[0-9|\\[dws]|\)[*+?]|\{\d+,|<=|>=|\^\w"
    r"|\b(?:an?|or|got|type) int\b|\bfloat\b"
)
"""``int`` alone is a key of a [[test]]."""


def raw_words(message: str) -> list[str]:
    """The raw words in a message; none is the wish."""
    return RAW.findall(message)
