"""One-time links, sessions of browsers, and a limit of failed tries. All of it is in memory. Pure.

Only digests are kept, so that the memory of the process has no secret that a browser would be let in with.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network, ip_address

LINK_S = 300.0
"""Seconds for which a one-time link is good."""
MOST_LINKS = 8
IDLE_S = 1800.0
"""Seconds without a request after which a session ends."""
LONGEST_S = 12 * 3600.0
"""Seconds after which every session ends."""
MOST_SESSIONS = 32
FAILURES = 5
"""Failed tries of one host within ``BRAKE_S`` that are answered; then its wrong secrets are refused with 429."""
FAILURES_OF_ALL = 50
BRAKE_S = 60.0
MOST_NOTICES = 8

Clock = Callable[[], float]


def new_secret() -> str:
    """256 random bits, as text for a URL or a header."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Links:
    """One-time sign-in links that were made and not used yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[bytes, float] = {}

    def make(self) -> str:
        """The secret of a new link. The oldest one ends if there are too many."""
        self._drop_ended()
        while len(self._ends) >= MOST_LINKS:
            del self._ends[next(iter(self._ends))]
        secret = new_secret()
        self._ends[digest(secret)] = self._clock() + LINK_S
        return secret

    def use(self, secret: str) -> bool:
        """True, once, for the secret of a link that is still good."""
        self._drop_ended()
        return self._ends.pop(digest(secret), None) is not None

    def _drop_ended(self) -> None:
        now = self._clock()
        for each in [each for each, end in self._ends.items() if end <= now]:
            del self._ends[each]


@dataclass(frozen=True, slots=True)
class Notice:
    """The result of an action, shown once on the next page."""

    kind: str
    """good | bad"""
    text: str
    toml: str = ""
    """The rules that were written or removed."""


@dataclass(slots=True)
class Session:
    """One browser that is signed in."""

    form_token: str
    """Every form has it: another site's page cannot know it."""
    began: float
    used: float
    notices: list[Notice] = field(default_factory=list)

    def accepts(self, token: object) -> bool:
        return isinstance(token, str) and hmac.compare_digest(digest(token), digest(self.form_token))

    def tell(self, notice: Notice) -> None:
        self.notices.append(notice)
        del self.notices[:-MOST_NOTICES]

    def told(self) -> list[Notice]:
        """The notices, once."""
        notices, self.notices = self.notices, []
        return notices


class Sessions:
    """Digest of the cookie -> session."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_digest: dict[bytes, Session] = {}

    def __len__(self) -> int:
        self._drop_ended()
        return len(self._by_digest)

    def begin(self) -> str:
        """The cookie of a new session. No browser chooses it. Of too many, the least used one ends."""
        self._drop_ended()
        while len(self._by_digest) >= MOST_SESSIONS:
            del self._by_digest[min(self._by_digest, key=lambda each: self._by_digest[each].used)]
        secret, now = new_secret(), self._clock()
        self._by_digest[digest(secret)] = Session(new_secret(), now, now)
        return secret

    def find(self, secret: str, *, use: bool = True) -> Session | None:
        """``use``: this request keeps the session from ending; a live stream does not."""
        self._drop_ended()
        session = self._by_digest.get(digest(secret))
        if session is not None and use:
            session.used = self._clock()
        return session

    def end(self, secret: str) -> None:
        self._by_digest.pop(digest(secret), None)

    def end_all(self) -> int:
        count = len(self._by_digest)
        self._by_digest.clear()
        return count

    def _drop_ended(self) -> None:
        now = self._clock()
        ended = [
            each
            for each, session in self._by_digest.items()
            if session.used + IDLE_S <= now or session.began + LONGEST_S <= now
        ]
        for each in ended:
            del self._by_digest[each]


class Brake:
    """Counts failed sign-ins and wrong tokens, of a host and of all.

    It is asked for wrong secrets only: a good one has 256 random bits, and guessing does not find it. What was
    refused does not count again, so that the limit ends by itself and no more than ``FAILURES_OF_ALL`` are kept.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: list[tuple[float, str]] = []

    @property
    def kept(self) -> int:
        return len(self._failures)

    def failed(self, address: str) -> float:
        """Counts a failed try. Returns 0, or the seconds until the next one counts, if there are too many."""
        now, host = self._clock(), host_of_address(address)
        self._failures = [each for each in self._failures if each[0] > now - BRAKE_S]
        own = [at for at, who in self._failures if who == host]
        every = [at for at, _ in self._failures]
        waits = [
            times[-most] + BRAKE_S - now
            for times, most in ((own, FAILURES), (every, FAILURES_OF_ALL))
            if len(times) >= most
        ]
        if waits:
            return max(waits)
        self._failures.append((now, host))
        return 0.0


def host_of_address(address: str) -> str:
    """The address, or the /64 of an IPv6 one: a host takes as many addresses of it as it likes."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or IPv6Network((int(ip), 64), strict=False))
    return str(ip)
