"""Keeps OpenSSL out of the daemon's process, which opens no TLS connection: 4.6 MiB, and 10 ms of each start.

``asyncio`` and aiohttp do without ``ssl`` where Python was built without it. uvloop only takes names from it.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

HASHES = ("_md5", "_sha1", "_sha3", "_blake2")
SHA2 = ("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")
"""Python's own hashes. Fedora's Python is built without some of them."""
TYPES = ("SSLContext", "MemoryBIO")
ERRORS = ("SSLError", "SSLWantReadError", "SSLSyscallError", "SSLZeroReturnError", "CertificateError")
NUMBERS = {"SSL_ERROR_WANT_READ": 2, "SSL_ERROR_WANT_WRITE": 3, "SSL_ERROR_SYSCALL": 5}
"""The names of ``ssl`` that uvloop reads when it is imported. It uses none of it without a TLS connection."""


def leave_out_openssl() -> bool:
    """Imports asyncio and uvloop without OpenSSL, and makes later imports of ``ssl`` fail. Call it before any other
    import of them. False: it is loaded already, or this Python or uvloop cannot do without it.
    """
    loaded = sys.modules
    if any(name in loaded for name in ("ssl", "_hashlib", "asyncio", "uvloop")):
        return _without_certificates()
    if all(map(find_spec, (*HASHES, *SHA2))):
        loaded["_hashlib"] = None  # type: ignore[assignment]  # documented: an import of it fails
    loaded["ssl"] = None  # type: ignore[assignment]
    import_module("asyncio")
    loaded["ssl"] = _names_for_uvloop()
    try:
        import_module("uvloop")
    except Exception:  # another release takes more names
        for name in [name for name in loaded if name.partition(".")[0] in ("ssl", "_hashlib", "uvloop")]:
            del loaded[name]
        return _without_certificates()
    loaded["ssl"] = None  # type: ignore[assignment]
    return True


def _without_certificates() -> bool:
    """aiohttp's client reads all certificates of the machine when it is imported, 40 ms for 140 of them: OpenSSL is
    told that there are none."""
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull
    return False


def _names_for_uvloop() -> ModuleType:
    names = ModuleType("ssl")
    for name in TYPES:
        setattr(names, name, type(name, (), {}))
    for name in ERRORS:
        setattr(names, name, type(name, (OSError,), {}))
    for name, number in NUMBERS.items():
        setattr(names, name, number)
    names.create_default_context = None  # type: ignore[attr-defined]
    return names
