"""Parsers for values of the configuration: from TOML or an option to the types of ``Config``."""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from upnp_gw.model.device import is_interface
from upnp_gw.model.mapping import Endpoint, IPNetwork

Parse = Callable[[object], Any]
"""Converts a value of TOML or an option. Raises InvalidValue, which names the accepted values."""

LONGEST_ACCOUNT = 255
IN_NFTABLES = re.compile(r"[A-Za-z0-9_.@-]+")
"""Names that are safe in the ruleset (``firewall.nftables.ruleset``)."""

HOST_NAME = re.compile(r"(?!.*\.[0-9]+$)[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class InvalidValue(ValueError):
    """A value that is not accepted; its text names accepted ones. ``index``: the position in a list."""

    def __init__(self, accepted: str, index: int | None = None) -> None:
        super().__init__(accepted)
        self.index = index


def _text(value: object, accepted: str) -> str:
    if not isinstance(value, str):
        raise InvalidValue(accepted)
    return value


def shown_text(most: int) -> Parse:
    """Parser for text to display: 1 to ``most`` printable characters."""

    def parse(value: object) -> str:
        accepted = f"a text of 1 to {most} printable characters"
        text = _text(value, accepted)
        if not 0 < len(text) <= most or not text.isprintable():
            raise InvalidValue(accepted)
        return text

    return parse


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue("true or false")
    return value


def number(least: int, most: int, meaning: str) -> Parse:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidValue(f"{meaning}, {least} to {most}")
        return value

    return parse


def one_of(words: Iterable[str], make: Callable[[str], Any] = str) -> Parse:
    words = tuple(words)

    def parse(value: object) -> Any:
        if value not in words:
            raise InvalidValue("one of " + ", ".join(f'"{word}"' for word in words))
        return make(str(value))

    return parse


def list_of(parse_one: Parse, accepted: str, least: int = 0) -> Parse:
    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise InvalidValue(accepted)
        parsed: list[Any] = []
        for index, element in enumerate(value):
            try:
                item = parse_one(element)
            except InvalidValue as error:
                raise InvalidValue(str(error), index) from None
            if item in parsed:
                raise InvalidValue("each value only once", index)
            parsed.append(item)
        return tuple(parsed)

    return parse


def interface(value: object) -> str:
    accepted = "the name of an interface (letters, digits, _ . - @, up to 15 characters)"
    name = _text(value, accepted)
    if not is_interface(name) or not IN_NFTABLES.fullmatch(name):
        raise InvalidValue(accepted)
    return name


def prefix(value: object) -> IPNetwork:
    accepted = "a prefix with no host bits set"
    try:
        network = ip_network(_text(value, accepted))
    except ValueError:
        raise InvalidValue(accepted) from None
    if network.prefixlen == 0:
        raise InvalidValue("a prefix of your own network, not the whole internet")
    return network


def external_address(value: object) -> IPv4Address:
    accepted = "an IPv4 address"
    try:
        address = IPv4Address(_text(value, accepted))
    except ValueError:
        raise InvalidValue(accepted) from None
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        raise InvalidValue(accepted + ", not multicast, loopback, unspecified or link-local")
    return address


def endpoint(value: object) -> Endpoint:
    """``127.0.0.1:5081`` or ``[::1]:5081``: one address of this machine and a port."""
    accepted = "an IP address of this machine and a TCP port from 1024 up"
    match = re.fullmatch(
        r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{4,5})", _text(value, accepted)
    )
    if match is None:
        raise InvalidValue(accepted)
    try:
        address = ip_address(match["six"] or match["four"])
    except ValueError:
        raise InvalidValue(accepted) from None
    if not 1024 <= int(match["port"]) <= 65535 or address.is_multicast or address.is_unspecified:
        raise InvalidValue(f"{accepted}; one address, not all of them")
    return Endpoint(address, int(match["port"]))


def host_name(value: object) -> str:
    """A host name as browsers send it: lower case, without a final dot."""
    accepted = "a host name, such as router.lan"
    name = _text(value, accepted).lower()
    if not HOST_NAME.fullmatch(name) or len(name) > LONGEST_ACCOUNT:
        raise InvalidValue(accepted)
    return name


def url(value: object) -> str:
    accepted = 'an http or https URL, or "" for the status page of the gateway'
    text = _text(value, accepted)
    if not text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidValue(accepted) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii() or not text.isprintable():
        raise InvalidValue(accepted)
    return text


def path(value: object) -> Path:
    accepted = "a path"
    text = str(value) if isinstance(value, Path) else _text(value, accepted)
    if not text or "\0" in text:
        raise InvalidValue(accepted)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InvalidValue("a path; the user after ~ does not exist") from None


def group(value: object) -> str:
    return _account(value, 'the name of a Unix group, or "" for none')


def user(value: object) -> str:
    return _account(value, 'the name of a user, "root" to stay root, or "" for the user upnp-gw if it exists')


def _account(value: object, accepted: str) -> str:
    """A user or group name that /etc/passwd or /etc/group can have, or empty. Raises InvalidValue."""
    name = _text(value, accepted)
    if len(name) > LONGEST_ACCOUNT or not name.isprintable() or set(name) & set(" :/,"):
        raise InvalidValue(accepted)
    return name
