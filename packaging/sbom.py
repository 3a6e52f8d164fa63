"""Prints a CycloneDX document (SBOM) of the packages that the program needs, from .ci/requirements.txt.

    .venv/bin/python packaging/sbom.py > upnp-gw.cdx.json

Licences, dependencies and the libraries inside of wheels are those of the packages that are installed here: run it
in an environment that has the pins. Packages that only build the program are left out. The same pins make the same
bytes; SOURCE_DATE_EPOCH is the time of the document.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

PROJECT = "upnp-gw"
PINS = Path(__file__).parent.parent / ".ci" / "requirements.txt"
PIN = re.compile(r"^([\w.-]+)==(\S+)", re.M)
LICENCES = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "PSFL": "PSF-2.0",
}
"""Name in the metadata -> SPDX, for packages without an expression."""
Json = dict[str, Any]


class NotAsPinned(Exception):
    """The environment does not have the pins. The text says what is different."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, str]:
    """Canonical name -> version."""
    return {canonical(name): version for name, version in PIN.findall(text)}


def needed_by(name: str) -> list[str]:
    """Canonical names that an installed package needs, on any system; none if it is not installed here."""
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    wanted = (line for line in lines if not re.search(r"\bextra\s*==", line))
    return [canonical(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in wanted]


def graph(pins: Mapping[str, str]) -> dict[str, list[str]]:
    """Each package that the program needs -> the pinned ones that it needs itself. Raises NotAsPinned."""
    found: dict[str, list[str]] = {}
    waiting = [PROJECT]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = sorted(set(needed_by(name)) & pins.keys())
            waiting += found[name]
    if not found[PROJECT]:
        raise NotAsPinned(f"{PROJECT} is not installed in {sys.prefix}")
    for name in found.keys() & pins.keys():
        installed = version_of(name)
        if installed not in (None, pins[name]):
            raise NotAsPinned(f"{name} {installed} is installed in {sys.prefix}, and {pins[name]} is pinned")
    return dict(sorted(found.items()))


def version_of(name: str) -> str | None:
    """The installed version; None: it is not needed on this system."""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def licences(package: Distribution) -> list[Json]:
    """As CycloneDX wants them: an expression, or names."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return [{"expression": metadata["License-Expression"]}]
    classifiers = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if "License ::" in line
    ]
    known = [{"license": {"id": LICENCES[name]}} for name in classifiers if name in LICENCES]
    if known:
        return known
    name = metadata["License"].strip().partition("\n")[0] if "License" in metadata else ""
    name = LICENCES.get(name, name)
    if not name:
        return []
    return [{"license": {"id": name} if name in LICENCES.values() else {"name": name}}]


def inside(name: str) -> Iterator[tuple[str, str]]:
    """(library, version) of the C libraries in a package's wheel."""
    if name == "lxml":
        from lxml import etree

        yield "libxml2", ".".join(map(str, etree.LIBXML_COMPILED_VERSION))
        yield "libxslt", ".".join(map(str, etree.LIBXSLT_COMPILED_VERSION))
    elif name == "cryptography":
        from cryptography.hazmat.backends.openssl.backend import backend

        yield "openssl", backend.openssl_version_text().split()[1]
    elif name == "uvloop":
        from uvloop import loop

        number = loop.libuv_get_version()  # type: ignore[attr-defined]
        yield "libuv", f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def component(name: str, version: str) -> Json:
    made: Json = {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
    }
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return made
    parts = [
        {
            "type": "library",
            "bom-ref": f"{name}@{version}/{part}@{number}",
            "name": part,
            "version": number,
            "purl": f"pkg:generic/{part}@{number}",
        }
        for part, number in inside(name)
    ]
    found = licences(package)
    return made | ({"licenses": found} if found else {}) | ({"components": parts} if parts else {})


def document(pins: Mapping[str, str], epoch: int | None) -> Json:
    """The document. ``epoch``: its time, Unix seconds; None: it has none. Raises NotAsPinned."""
    needs = graph(pins)
    own = f"{PROJECT}@{version_of(PROJECT)}"
    components = [component(name, pins[name]) for name in needs if name != PROJECT]

    def ref(name: str) -> str:
        return own if name == PROJECT else f"{name}@{pins[name]}"

    metadata: Json = {
        "component": {
            "type": "application",
            "bom-ref": own,
            "name": PROJECT,
            "version": version_of(PROJECT),
            "licenses": licences(distribution(PROJECT)),
            "purl": f"pkg:pypi/{PROJECT}@{version_of(PROJECT)}",
        }
    }
    if epoch is not None:
        metadata["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    body = {
        "metadata": metadata,
        "components": components,
        "dependencies": [
            {"ref": ref(name), "dependsOn": [ref(one) for one in ones]} for name, ones in needs.items()
        ],
    }
    serial = uuid5(NAMESPACE_URL, json.dumps(body, sort_keys=True)).urn
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": serial, "version": 1, **body}


def main() -> None:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        made = document(pinned(PINS.read_text("utf-8")), int(epoch) if epoch.isdecimal() else None)
    except NotAsPinned as problem:
        print(f"no SBOM: {problem}. Install the pins: pip install --require-hashes -r {PINS}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
