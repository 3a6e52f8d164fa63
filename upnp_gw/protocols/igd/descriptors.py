"""The hand-written XML documents: root device descriptions and service descriptions (SCPD).

They lie in ``descriptors/`` at the top of a checkout and in ``upnp_gw/descriptors`` of an installed wheel.
"""

import re
from functools import cache
from pathlib import Path

import upnp_gw

NAME = re.compile(r"[A-Za-z0-9]{1,64}\.xml")


@cache
def descriptors() -> Path:
    """The directory of the documents, in the wheel or in the checkout."""
    package = Path(upnp_gw.__file__).parent
    installed = package / "descriptors"
    return installed if installed.is_dir() else package.parent / "descriptors"


@cache
def load_descriptor(name: str) -> bytes:
    """The bytes of a document, such as ``igd1.xml`` or ``WANIPConnection2.xml``. Raises LookupError for another
    name."""
    if not NAME.fullmatch(name):
        raise LookupError(f"not the name of a descriptor: {name!r}")
    try:
        return (descriptors() / name).read_bytes()
    except FileNotFoundError:
        raise LookupError(f"no descriptor {name}") from None
