"""What PCP nonces are made of: a secret of this user on this host, so that a later call can renew and delete.

A nonce is 96 bits that nobody else can guess (RFC 6887 section 11.2); the same wish gets the same one.
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
    """Where it is kept (XDG base directories)."""
    base = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME', '/root')}/.local/state"
    return Path(base) / "upnp-gw" / "request-secret"


def load_secret(path: Path) -> bytes:
    """The secret, made where there is none yet. One that cannot be kept lasts as long as this process."""
    with suppress(FileProblem):
        known = read_any(path, SECRET_BYTES)
        if len(known) == SECRET_BYTES:
            return known
    made = secrets.token_bytes(SECRET_BYTES)
    with suppress(OSError, FileProblem):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_own(path, made, 0o600)
    return made


def nonces(secret: bytes) -> Callable[[RequestedMapping], bytes]:
    """Wish -> nonce."""

    def nonce(requested: RequestedMapping) -> bytes:
        text = f"{requested.version} {requested.transport} {requested.port}".encode()
        return hmac.new(secret, text, sha256).digest()[:NONCE_BYTES]

    return nonce
