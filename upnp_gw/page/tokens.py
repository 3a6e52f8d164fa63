"""Tokens for scripts: made, listed and revoked by ``upnp-gw token``. The file has their digests only."""

import hmac
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from upnp_gw.page.sessions import digest, new_secret
from upnp_gw.system.files import FileProblem, own_directory, read_own, sync_directory, write_own

log = logging.getLogger(__name__)

BEGIN = "upnp-gw-"
"""A token begins so: whoever finds one in a log knows what it is."""
MOST = 64
LARGEST = 64 * 1024
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One token, as it is kept."""

    name: str
    digest: str
    """SHA-256 of the token, hexadecimal."""
    acts: bool
    """False: it only reads."""
    created: datetime
    ends: datetime | None = None
    """None: it is good until it is revoked."""

    def good(self, now: float) -> bool:
        return self.ends is None or self.ends.timestamp() > now


class Kept(msgspec.Struct, frozen=True):
    tokens: list[Token]


class TokenProblem(Exception):
    """A token cannot be made or revoked; the text is one sentence."""


@dataclass
class Tokens:
    """The tokens in ``directory``. Each change is written at once."""

    directory: Path

    def __post_init__(self) -> None:
        """Raises FileProblem if the file is there and cannot be read."""
        own_directory(self.directory, 0o700)
        self._file = self.directory / "tokens.json"
        self._tokens: dict[str, Token] = {}
        try:
            kept = msgspec.json.decode(read_own(self._file, LARGEST), type=Kept)
        except FileProblem as problem:
            if not problem.missing:
                raise
        except msgspec.MsgspecError:
            raise FileProblem(self._file, "is not a list of tokens; move it away and make new tokens") from None
        else:
            self._tokens = {token.name: token for token in kept.tokens}

    def all(self) -> list[Token]:
        return sorted(self._tokens.values(), key=lambda token: token.created)

    def create(self, name: str, *, acts: bool, for_s: int | None, now: float | None = None) -> str:
        """The secret of a new token; nothing keeps it. Raises TokenProblem, FileProblem."""
        now = time.time() if now is None else now
        if name in self._tokens and self._tokens[name].good(now):
            raise TokenProblem(f"there is a token {name}: revoke it first, or choose another name")
        self._drop_ended(now)
        if len(self._tokens) >= MOST:
            raise TokenProblem(f"there are {MOST} tokens: revoke one first")
        secret = BEGIN + new_secret()
        self._tokens[name] = Token(
            name=name,
            digest=digest(secret).hex(),
            acts=acts,
            created=datetime.fromtimestamp(int(now), UTC),
            ends=None if for_s is None else datetime.fromtimestamp(int(now) + for_s, UTC),
        )
        self._write()
        return secret

    def revoke(self, name: str) -> None:
        """Raises TokenProblem, FileProblem."""
        if name not in self._tokens:
            raise TokenProblem(f"there is no token {name[:40]}")
        del self._tokens[name]
        self._write()

    def check(self, secret: str, now: float | None = None) -> Token | None:
        """The token of this secret, if it is good."""
        own = digest(secret).hex()
        found = [token for token in self._tokens.values() if hmac.compare_digest(token.digest, own)]
        return found[0] if found and found[0].good(time.time() if now is None else now) else None

    def holds(self, token: Token, now: float | None = None) -> bool:
        """True while the token is neither revoked nor at its end."""
        return self._tokens.get(token.name) == token and token.good(time.time() if now is None else now)

    def _drop_ended(self, now: float) -> None:
        self._tokens = {name: token for name, token in self._tokens.items() if token.good(now)}

    def _write(self) -> None:
        new = self._file.with_name(".tokens.json")
        write_own(new, msgspec.json.format(msgspec.json.encode(Kept(self.all()))), 0o600)
        try:
            new.replace(self._file)
            sync_directory(self.directory)
        except OSError as error:
            raise FileProblem(self._file, f"cannot be written: {error.strerror}") from None
