"""From a TOML file and the command line's options to a ``Config``. ``KEYS`` is the whole of the file's language.

Options override the file, the file overrides what was detected. Nothing is guessed: a key that is not in the table
is refused, with the nearest one that is.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from upnp_gw.config import Config, check
from upnp_gw.device import is_interface
from upnp_gw.errors import ConfigError
from upnp_gw.files import FileProblem, read_trusted
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model import IPNetwork
from upnp_gw.protocols.faces import Face
from upnp_gw.protocols.switch import Switch

Settings = dict[str, Any]
"""Field of ``Config`` -> its value."""

Detect = Callable[[Settings], tuple[Settings, tuple[str, ...]]]
"""What was given -> what was chosen for the rest, and why."""

Parse = Callable[[object], Any]
"""A value of TOML (or an option's) to the field's type; a ``Rejected`` says what would be accepted."""

LARGEST = 1024 * 1024
"""Bytes of a configuration file."""


class Rejected(ValueError):
    """``index`` is the element of a list that is at fault."""

    def __init__(self, accepted: str, index: int | None = None) -> None:
        super().__init__(accepted)
        self.index = index


def _text(value: object, accepted: str) -> str:
    if not isinstance(value, str):
        raise Rejected(accepted)
    return value


def _shown(most: int) -> Parse:
    """Text that others are shown: no control characters."""

    def parse(value: object) -> str:
        accepted = f"a text of 1 to {most} printable characters"
        text = _text(value, accepted)
        if not 0 < len(text) <= most or not text.isprintable():
            raise Rejected(accepted)
        return text

    return parse


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Rejected("true or false")
    return value


def _number(least: int, most: int, meaning: str) -> Parse:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Rejected(f"{meaning}, {least} to {most}")
        return value

    return parse


def _one_of(words: Iterable[str], make: Callable[[str], Any] = str) -> Parse:
    words = tuple(words)

    def parse(value: object) -> Any:
        if value not in words:
            raise Rejected("one of " + ", ".join(f'"{word}"' for word in words))
        return make(str(value))

    return parse


def _list(parse_one: Parse, accepted: str, least: int = 0) -> Parse:
    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise Rejected(accepted)
        parsed: list[Any] = []
        for index, one in enumerate(value):
            try:
                item = parse_one(one)
            except Rejected as rejected:
                raise Rejected(str(rejected), index) from None
            if item in parsed:
                raise Rejected("each one only once", index)
            parsed.append(item)
        return tuple(parsed)

    return parse


def _interface(value: object) -> str:
    accepted = 'the name of an interface, such as "eth1" (up to 15 characters)'
    name = _text(value, accepted)
    if not is_interface(name):
        raise Rejected(accepted)
    return name


def _prefix(value: object) -> IPNetwork:
    accepted = 'a prefix such as "10.0.40.0/24", without bits behind its length'
    try:
        network = ip_network(_text(value, accepted))
    except ValueError:
        raise Rejected(accepted) from None
    if network.prefixlen == 0:
        raise Rejected("a prefix of your own, not the whole internet")
    return network


def _external(value: object) -> IPv4Address:
    accepted = 'an IPv4 address such as "198.51.100.7"'
    try:
        address = IPv4Address(_text(value, accepted))
    except ValueError:
        raise Rejected(accepted) from None
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        raise Rejected(accepted + " that a host can have")
    return address


def _url(value: object) -> str:
    accepted = 'an http or https URL, or "" for the status page of the gateway'
    text = _text(value, accepted)
    if not text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        raise Rejected(accepted) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii() or not text.isprintable():
        raise Rejected(accepted)
    return text


def _path(value: object) -> Path:
    accepted = "a path"
    text = str(value) if isinstance(value, Path) else _text(value, accepted)
    if not text or "\0" in text:
        raise Rejected(accepted)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise Rejected("a path; there is no such user to begin it with ~") from None


def _group(value: object) -> str:
    return _text(value, 'the name of a Unix group, or "" for none')


def _user(value: object) -> str:
    return _text(value, 'the name of a user, "root" to stay root, or "" for upnp-gw where there is one')


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file: which field of ``Config`` it fills and what it takes."""

    field: str
    parse: Parse
    option: str = ""
    """The option of ``upnp-gw run`` that overrides it."""


_INTERFACES = _list(_interface, 'a list of interfaces, such as ["br-lan"]', least=1)
_FACES = _list(_one_of(face.value for face in Face), 'a list with "igd1", "igd2" or both', least=1)

KEYS: Mapping[str, Mapping[str, Key]] = {
    "lan": {
        "interfaces": Key("lan", _INTERFACES, "--lan"),
        "routed": Key("routed", _list(_prefix, 'a list of prefixes, such as ["10.0.40.0/24"]')),
        "hairpin": Key("hairpin", _one_of(("all", "same"))),
    },
    "wan": {
        "interface": Key("wan", _interface, "--wan"),
        "addresses": Key("external_addresses", _list(_external, "a list of IPv4 addresses")),
        "advertise": Key("advertise", _external),
        "refuse_private": Key("refuse_private_external", _flag),
    },
    "upnp": {
        "http_port": Key("http_port", _number(0, 65535, "a TCP port, 0 for any free one"), "--http-port"),
        "faces": Key("faces", _FACES),
        "friendly_name": Key("friendly_name", _shown(63)),
        "presentation_url": Key("presentation_url", _url),
        "max_age": Key("max_age_s", _number(1800, 86400, "whole seconds")),
    },
    "portcontrol": {
        "natpmp": Key("natpmp", _one_of((switch.value for switch in Switch), Switch)),
        "pcp": Key("pcp", _one_of((switch.value for switch in Switch), Switch)),
        "pcp_min_lifetime": Key("pcp_min_lifetime_s", _number(30, 86400, "whole seconds")),
        "nonce_check": Key("nonce_check", _one_of(("strict", "lenient"))),
    },
    "firewall": {
        "mode": Key("firewall", _one_of((mode.value for mode in FirewallMode), FirewallMode), "--firewall"),
        "backend": Key("backend", _one_of(("nftables", "memory")), "--backend"),
        "allow_other_forward": Key("allow_other_forward", _flag),
        "flush_on_stop": Key("flush_on_stop", _flag, "--flush"),
    },
    "gate": {
        "policy": Key("policy", _path, "--policy"),
        "lease_files": Key("lease_files", _list(_path, 'a list of files, such as ["/tmp/dhcp.leases"]')),
        "visibility": Key("visibility", _one_of(("own", "all"))),
        "on_reload": Key("on_reload", _one_of(("revoke", "keep"))),
    },
    "store": {
        "state_dir": Key("state_dir", _path, "--state-dir"),
        "durability": Key("durability", _one_of(("normal", "full"))),
        "keep_decisions": Key("keep_decisions", _number(1000, 10_000_000, "a number of decisions")),
        "keep_days": Key("keep_days", _number(1, 3660, "a number of days")),
    },
    "log": {
        "format": Key("log_format", _one_of(("text", "json"))),
        "level": Key("log_level", _one_of(("debug", "info", "warning", "error"))),
    },
    "control": {
        "runtime_dir": Key("runtime_dir", _path, "--runtime-dir"),
        "group": Key("control_group", _group),
    },
    "daemon": {
        "user": Key("user", _user, "--user"),
    },
}
"""Table -> key -> what it fills. Everything the file may say."""

PATHS = frozenset({"policy", "state_dir", "runtime_dir"})
"""Fields whose relative paths start at the file's own directory, not at wherever the daemon was started."""


def read_file(path: Path) -> Settings:
    """The settings of a TOML file. ConfigError names the file and the key path."""
    where = str(path)
    try:
        text = read_trusted(path, LARGEST).decode("utf-8")
    except FileProblem as error:
        raise ConfigError(where, "", error.problem) from None
    except UnicodeDecodeError:
        raise ConfigError(where, "", "is not UTF-8 text") from None
    settings = parse_text(text, where)
    if "lease_files" in settings:
        settings["lease_files"] = tuple(path.absolute().parent / file for file in settings["lease_files"])
    for field in PATHS & settings.keys():
        settings[field] = path.absolute().parent / settings[field]
    return settings


def parse_text(text: str, where: str) -> Settings:
    """The same for a text; ``where`` names it in errors. Paths are as they are written."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where, "", f"is not TOML: {error}") from None
    except (RecursionError, ValueError):  # nested beyond reason, or an integer of thousands of digits
        raise ConfigError(where, "", "is not TOML: nested too deep, or a number too long") from None
    return _settings(where, tables)


def _settings(where: str, tables: Mapping[str, object]) -> Settings:
    settings: Settings = {}
    for name, table in tables.items():
        if name not in KEYS:
            raise ConfigError(where, name, _unknown(name, KEYS, "tables"))
        if not isinstance(table, dict):
            raise ConfigError(where, name, f"expected a table: [{name}] on a line of its own")
        for key, value in table.items():
            known = KEYS[name].get(key)
            if known is None:
                raise ConfigError(where, f"{name}.{key}", _unknown(key, KEYS[name], f"keys of [{name}]"))
            settings[known.field] = _parsed(where, f"{name}.{key}", known.parse, value)
    return settings


def read_options(options: Mapping[str, object]) -> Settings:
    """The settings of the command line: ``--lan`` -> value. Those that are None or empty were not given."""
    by_option = {key.option: key for table in KEYS.values() for key in table.values() if key.option}
    return {
        by_option[option].field: _parsed(option, "", by_option[option].parse, value)
        for option, value in options.items()
        if value is not None and value != ()
    }


def _parsed(where: str, key: str, parse: Parse, value: object) -> Any:
    try:
        return parse(value)
    except Rejected as rejected:
        if isinstance(value, list | tuple) and rejected.index is not None:
            key, value = f"{key}[{rejected.index}]" if key else "", value[rejected.index]
        raise ConfigError(where, key, f"{_told(value)} is not accepted; expected {rejected}") from None


def _told(value: object) -> str:
    """The refused value, short and printable."""
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(word: str, known: Iterable[str], what: str) -> str:
    from difflib import get_close_matches  # only ever needed for a mistake

    near = get_close_matches(word, known, n=1, cutoff=0.6)
    near += [f"{table}.{word}" for table, keys in KEYS.items() if word in keys]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown; {hint}the {what} are {', '.join(known)}"


def load(
    path: Path | None, options: Mapping[str, object], detect: Detect
) -> tuple[Config, tuple[str, ...], Settings]:
    """The configuration in force, what was detected (a sentence each) and the settings that were given.

    ``detect`` chooses what is not given and checks what is. Raises ConfigError where a key is wrong, no LAN or WAN
    is left, or they overlap.
    """
    where = str(path) if path is not None else "command line"
    given = {**(read_file(path) if path is not None else {}), **read_options(options)}
    if given.keys() >= {"lan", "wan"}:
        check(Config(**given), where)  # a mistake in writing is told before one on the machine
    found, why = detect(given)
    settings = {**found, **given}
    for field, key in (("lan", "lan.interfaces"), ("wan", "wan.interface")):
        if not settings.get(field):
            raise ConfigError(where, key, f"no {field.upper()} interface; name it here or with --{field} INTERFACE")
    config = Config(**settings)
    check(config, where)
    return config, why, given
