"""The secret that PCP nonces are made of. It belongs to one user of this host, so a later call can renew and
release.

A nonce is 96 bits that no other host can guess (RFC 6887 section 11.2). The same request always gets the same
nonce.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from upnp_gw.client.mapping_request import RequestedMapping
from upnp_gw.protocols.pcp.messages import NONCE_BYTES
from upnp_gw.system.files import FileProblem, read_any, write_own

SECRET_BYTES = 32


def secret_path(environ: Mapping[str, str]) -> Path:
    """The file of the secret (XDG base directories)."""
    base = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME', '/root')}/.local/state"
    return Path(base) / "upnp-gw" / "request-secret"


def load_secret(path: Path) -> bytes:
    """Reads the secret, or makes one. If it cannot be stored, it lasts as long as this process."""
    with suppress(FileProblem):
        stored = read_any(path, SECRET_BYTES)
        if len(stored) == SECRET_BYTES:
            return stored
    secret = secrets.token_bytes(SECRET_BYTES)
    with suppress(OSError, FileProblem):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_own(path, secret, 0o600)
    return secret


def nonces(secret: bytes) -> Callable[[RequestedMapping], bytes]:
    """Request -> nonce, 12 bytes."""

    def nonce(request: RequestedMapping) -> bytes:
        text = f"{request.version} {request.transport} {request.port}".encode()
        return hmac.new(secret, text, sha256).digest()[:NONCE_BYTES]

    return nonce
