"""The answers to the questions of ``upnp-gw setup``, and the words for them. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from upnp_gw.config.values import InvalidValue, interface
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.setup.interfaces import DIAL_UP
from upnp_gw.text.escape import shown

PLACES = {"beside": FirewallMode.ALONGSIDE, "own": FirewallMode.ROUTER}
"""Word for the place beside another firewall, or as the firewall -> mode."""
PROFILES = ("home", "ask", "locked")
KEEP = "keep"
"""The policy file stays as it is."""
PAGES = ("own", "all", "off")
SIGN_INS = ("ssh", "lan")
"""ssh: the operator's page is on the loopback; lan: on the first LAN, over TLS."""
GUESTS, NAT, NO_NAT = "guests", "nat", "no-nat"


class NotAccepted(ValueError):
    """An answer that cannot be; its text says what is accepted."""

    def __init__(self, given: str, accepted: str) -> None:
        super().__init__(f'got "{shown(given, 60)}"; accepted: {accepted}')


@dataclass(frozen=True, slots=True)
class LanAnswer:
    """One LAN."""

    name: str
    guests: bool = False
    """True: its hosts may open nothing."""
    nat: bool = True

    def __str__(self) -> str:
        return self.name + f":{GUESTS}" * self.guests + f":{NO_NAT}" * (not self.nat)


@dataclass(frozen=True, slots=True)
class Answers:
    """All answers."""

    wan: str
    lans: tuple[LanAnswer, ...]
    """The home LAN first."""
    mode: FirewallMode
    policy: str
    page: str
    sign_in: str = SIGN_INS[0]


def parse_wan(text: str, known: Collection[str], configured: Collection[str], accepted: Iterable[str]) -> str:
    """The name of an interface that is there, that the configuration names, or that may appear later (``ppp0``).
    Raises NotAccepted."""
    name = text.strip()
    if name not in known and name not in configured and not DIAL_UP.fullmatch(name):
        raise NotAccepted(name, _names(accepted))
    return name


def parse_lans(
    texts: Sequence[str], known: Collection[str], accepted: Iterable[str], without_nat: Collection[str] = ()
) -> tuple[LanAnswer, ...]:
    """``br0 guest0:guests dmz:no-nat``. ``without_nat``: LANs without NAT where the answer does not say so.
    Raises NotAccepted."""
    words = [word for text in texts for word in text.replace(",", " ").split()]
    if not words:
        raise NotAccepted("", _names(accepted))
    found: list[LanAnswer] = []
    for word in words:
        name, *marks = word.split(":")
        if name not in known:
            raise NotAccepted(name, _names(accepted))
        try:
            interface(name)
        except InvalidValue as error:
            raise NotAccepted(name, str(error)) from None
        if name in [lan.name for lan in found]:
            raise NotAccepted(word, "each interface once")
        if unknown := [mark for mark in marks if mark not in (GUESTS, NAT, NO_NAT)]:
            raise NotAccepted(f":{unknown[0]}", f":{GUESTS}, :{NAT} or :{NO_NAT} after the name")
        if NAT in marks and NO_NAT in marks:
            raise NotAccepted(word, f"one of :{NAT} and :{NO_NAT}")
        nat = NO_NAT not in marks and (NAT in marks or name not in without_nat)
        found.append(LanAnswer(name, GUESTS in marks, nat))
    if all(lan.guests for lan in found):
        raise NotAccepted(" ".join(words), f"at least one LAN without :{GUESTS}")
    return tuple(found)


def parse_firewall(text: str, lans: tuple[LanAnswer, ...]) -> tuple[FirewallMode, tuple[LanAnswer, ...]]:
    """``beside`` or ``own``, with ``nat`` or ``no-nat`` for all LANs. Raises NotAccepted."""
    words = text.replace(",", " ").split()
    places = [word for word in words if word in PLACES]
    nat = [word for word in words if word in (NAT, NO_NAT)]
    if len(places) != 1 or len(nat) > 1 or len(places) + len(nat) != len(words):
        raise NotAccepted(text, f"beside or own, and {NO_NAT} after it if no LAN is translated")
    if nat:
        lans = tuple(replace(lan, nat=nat[0] == NAT) for lan in lans)
    return PLACES[places[0]], lans


def parse_policy(text: str, exists: bool) -> str:
    """A profile; ``keep`` where there is a policy file. Raises NotAccepted."""
    word = text.strip()
    accepted = (*PROFILES, *([KEEP] if exists else []))
    if word not in accepted:
        raise NotAccepted(word, _either(accepted))
    return word


def parse_page(text: str, sign_in: str) -> tuple[str, str]:
    """``own``, ``all`` or ``off``, with ``ssh`` or ``lan`` for the sign-in; ``sign_in`` where it does not say.
    Raises NotAccepted."""
    words = text.replace(",", " ").split()
    pages = [word for word in words if word in PAGES]
    ways = [word for word in words if word in SIGN_INS]
    if len(pages) != 1 or len(ways) > 1 or len(pages) + len(ways) != len(words):
        raise NotAccepted(text, f"{_either(PAGES)}, and {_either(SIGN_INS)} after it")
    if pages[0] == "off" and ways:
        raise NotAccepted(text, "off alone: without the page nobody signs in")
    return pages[0], ways[0] if ways else sign_in


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "no interface of this machine"
