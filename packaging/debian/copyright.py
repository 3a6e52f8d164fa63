"""Writes debian/copyright: our licence, then those of the Python packages that are packed with it.

``python copyright.py SITE_PACKAGES LICENCE`` reads the licence files in the wheels' own folders.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

OWN = "upnp-gw"
APACHE = re.compile(r"Apache License\W+Version 2\.0, January 2004")
APACHE_HERE = (
    "Apache License, Version 2.0: on Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n"
)


def licences(distribution: Distribution) -> Iterator[tuple[str, str]]:
    """(name, text) of each licence file of a wheel. Raises ValueError if it has none."""
    found = False
    for file in sorted(distribution.files or ()):
        upper = file.name.upper()
        if ".dist-info" in str(file) and upper.startswith(("LICEN", "COPYING", "NOTICE", "AUTHORS")):
            found = True
            text = Path(str(distribution.locate_file(file))).read_text("utf-8")
            yield file.name, APACHE_HERE if APACHE.search(text) else text
    if not found:
        name = distribution.metadata["License-Expression"] or distribution.metadata["License"]
        if not name:
            raise ValueError(f"{distribution.name}: no licence is named")
        yield "METADATA", f"{name}\n"


def copyright_of(site: Path, licence: Path) -> Iterator[str]:
    yield f"upnp-gw:\n\n{licence.read_text('utf-8')}"
    packed = sorted(
        (one for one in distributions(path=[str(site)]) if one.name != OWN), key=lambda one: one.name.lower()
    )
    yield (
        "Packed with it in /usr/lib/upnp-gw, as published on PyPI. Some have C libraries linked into them:"
        " cryptography (OpenSSL), lxml (libxml2, libxslt, zlib), uvloop (libuv), cffi (libffi).\n"
    )
    for one in packed:
        yield f"{'-' * 80}\n{one.name} {one.version}\n"
        for name, text in licences(one):
            yield f"({name})\n\n{text}"


if __name__ == "__main__":
    print("\n".join(copyright_of(Path(sys.argv[1]), Path(sys.argv[2]))))
