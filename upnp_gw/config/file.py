"""From a TOML file and command-line options to a ``Config``. ``KEYS`` lists every key of the file.

Options override the file, the file overrides detection. An unknown key is refused; the message names the nearest
known one.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from upnp_gw.config import lan_tables, notify_tables, values
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.config.settings import Config, Settings, check
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.errors import ConfigError
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.mode import ServiceMode
from upnp_gw.system.files import FileProblem, read_trusted
from upnp_gw.text import toml as toml_text
from upnp_gw.text.toml import locate_errors, parse_tables

Detect = Callable[[Settings], tuple[Settings, tuple[str, ...]]]
"""Given settings -> detected settings, and a sentence for each."""

Fits = Callable[[Config], None]
"""Checks a configuration against the machine. Raises ConfigError."""

LARGEST = 1024 * 1024
"""Bytes of a configuration file."""
_OR_LEFT_OUT = "leave it out for"
"""An empty list does not mean the same as no key."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file: the field of ``Config``, and how its value is parsed."""

    field: str
    parse: values.Parse
    example: str
    """An accepted value, as TOML, for messages."""
    option: str = ""
    """The option of ``upnp-gw run`` that overrides it."""


_INTERFACES = values.list_of(values.interface, "a list of interfaces", least=1)
_ADDRESSES = values.list_of(
    values.external_address, f"a list of IPv4 addresses; {_OR_LEFT_OUT} the addresses of the WAN", least=1
)
_LEASE_FILES = values.list_of(values.path, f"a list of files; {_OR_LEFT_OUT} the usual places", least=1)
_FACES = values.list_of(
    values.one_of(igd_version.value for igd_version in IgdVersion), 'a list with "igd1", "igd2" or both', least=1
)
_PROTOCOLS = values.list_of(
    values.one_of(("pcp", "natpmp", "igd")), 'a list of "pcp", "natpmp" and "igd", in the order to try', least=1
)

KEYS: Mapping[str, Mapping[str, Key]] = {
    "lan": {
        "interfaces": Key("lan", _INTERFACES, '["br-lan"]', "--lan"),
        "nat": Key("nat_of_lan", values.flag, "false"),
        "routed": Key("routed", values.list_of(values.prefix, "a list of prefixes"), '["10.0.40.0/24"]'),
        "hairpin": Key("hairpin", values.one_of(("all", "same")), '"all"'),
    },
    "wan": {
        "interface": Key("wan", values.interface, '"eth0"', "--wan"),
        "addresses": Key("external_addresses", _ADDRESSES, '["198.51.100.7"]', "--external"),
        "advertise": Key("advertise", values.external_address, '"198.51.100.7"'),
        "refuse_private": Key("refuse_private_external", values.flag, "true"),
    },
    "upstream": {
        "when": Key("upstream_when", values.one_of(("never", "private", "always")), '"private"'),
        "ask": Key("upstream_ask", _PROTOCOLS, '["pcp", "natpmp", "igd"]'),
        "gateway": Key("upstream_gateway", values.external_address, '"192.168.1.1"'),
        "lease": Key("upstream_lease_s", values.number(120, 86400, "whole seconds"), "1800"),
        "timeout": Key("upstream_timeout_s", values.number(1, 30, "whole seconds"), "4"),
    },
    "upnp": {
        "http_port": Key(
            "http_port", values.number(0, 65535, "a TCP port, 0 for any free one"), "5000", "--http-port"
        ),
        "faces": Key("faces", _FACES, '["igd1", "igd2"]'),
        "friendly_name": Key("friendly_name", values.shown_text(63), '"Our router"'),
        "presentation_url": Key("presentation_url", values.url, '"https://router.lan/"'),
        "max_age": Key("max_age_s", values.number(1800, 86400, "whole seconds"), "1800"),
    },
    "portcontrol": {
        "natpmp": Key("natpmp", values.one_of((switch.value for switch in ServiceMode), ServiceMode), '"on"'),
        "pcp": Key("pcp", values.one_of((switch.value for switch in ServiceMode), ServiceMode), '"on"'),
        "pcp_min_lifetime": Key("pcp_min_lifetime_s", values.number(30, 86400, "whole seconds"), "120"),
        "nonce_check": Key("nonce_check", values.one_of(("strict", "lenient")), '"strict"'),
        "anycast": Key("anycast", values.flag, "true"),
    },
    "firewall": {
        "mode": Key(
            "firewall",
            values.one_of((mode.value for mode in FirewallMode), FirewallMode),
            '"alongside"',
            "--firewall",
        ),
        "backend": Key("backend", values.one_of(("nftables", "memory")), '"nftables"', "--backend"),
        "writer": Key("writer", values.one_of(("netlink", "libnftables")), '"netlink"'),
        "nat": Key("nat", values.flag, "false", "--no-nat"),
        "allow_other_forward": Key("allow_other_forward", values.flag, "true"),
        "flush_on_stop": Key("flush_on_stop", values.flag, "true", "--flush"),
    },
    "gate": {
        "policy": Key("policy", values.path, '"/etc/upnp-gw/policy.toml"', "--policy"),
        "lease_files": Key("lease_files", _LEASE_FILES, '["/tmp/dhcp.leases"]'),
        "visibility": Key("visibility", values.one_of(("own", "all")), '"own"'),
        "on_reload": Key("on_reload", values.one_of(("revoke", "keep")), '"revoke"'),
    },
    "store": {
        "state_dir": Key("state_dir", values.path, '"/var/lib/upnp-gw"', "--state-dir"),
        "durability": Key("durability", values.one_of(("normal", "full")), '"normal"'),
        "keep_decisions": Key("keep_decisions", values.number(1000, 10_000_000, "a number of decisions"), "100000"),
        "keep_days": Key("keep_days", values.number(1, 3660, "a number of days"), "90"),
        "keep_evidence_days": Key("keep_evidence_days", values.number(1, 3660, "a number of days"), "180"),
    },
    "log": {
        "format": Key("log_format", values.one_of(("text", "json")), '"text"'),
        "level": Key("log_level", values.one_of(("debug", "info", "warning", "error")), '"info"', "--log-level"),
    },
    "control": {
        "runtime_dir": Key("runtime_dir", values.path, '"/run/upnp-gw"', "--runtime-dir"),
        "group": Key("control_group", values.group, '"netdev"'),
    },
    "page": {
        "lan": Key("page_lan", values.one_of(("off", "own", "all")), '"own"'),
        "port": Key("page_port", values.number(1024, 65535, "a TCP port"), "5080"),
        "listen": Key("page_listen", values.endpoint, '"127.0.0.1:5081"'),
        "names": Key("page_names", values.list_of(values.host_name, "a list of host names"), '["router.lan"]'),
        "certificate": Key("page_certificate", values.path, '"/etc/upnp-gw/page.crt"'),
        "key": Key("page_key", values.path, '"/etc/upnp-gw/page.key"'),
        "plain": Key("page_plain", values.flag, "true"),
        "runtime_dir": Key("page_runtime_dir", values.path, '"/run/upnp-gw-page"'),
        "state_dir": Key("page_state_dir", values.path, '"/var/lib/upnp-gw-page"'),
    },
    "metrics": {
        "listen": Key("page_metrics_listen", values.endpoint, '"127.0.0.1:9909"'),
        "devices": Key("page_metrics_devices", values.number(0, 1000, "a number of devices"), "50"),
    },
    "daemon": {
        "user": Key("user", values.user, '"upnp-gw"', "--user"),
    },
}
"""Table -> key -> field. These are all keys of the file, with ``NOTIFY``. There may be several ``[[lan]]``."""

_NOTIFY_EVENTS = values.list_of(values.one_of(notify_tables.EVENTS), "a list of events", least=1)
NOTIFY: Mapping[str, Key] = {
    "url": Key("url", notify_tables.target_url, '"https://ntfy.sh/my-topic"'),
    "events": Key("events", _NOTIFY_EVENTS, '["question", "incident"]'),
    "format": Key("format", values.one_of(notify_tables.FORMATS), '"ntfy"'),
    "body": Key("body", notify_tables.template, """'{"content": "$text"}'"""),
    "content_type": Key("content_type", values.shown_text(100), '"text/plain"'),
    "headers": Key("headers", notify_tables.header_table, '{ X-Room = "hall" }'),
    "secret": Key("secret", values.shown_text(200), '"a long random text"'),
    "secret_file": Key("secret_file", values.path, '"/etc/upnp-gw/notify.secret"'),
    "token_file": Key("token_file", values.path, '"/etc/upnp-gw/ntfy.token"'),
    "ca_file": Key("ca_file", values.path, '"/etc/upnp-gw/home-ca.pem"'),
}
"""The keys of ``[[notify]]``, and the fields of ``NotifyTarget``. There may be several such tables."""
TABLES = (*KEYS, "notify")

PATHS = frozenset(
    {
        *("policy", "state_dir", "runtime_dir"),
        *("page_certificate", "page_key", "page_runtime_dir", "page_state_dir"),
    }
)
"""Fields with a path. A relative one starts at the directory of the file."""


def read_file(path: Path) -> Settings:
    """The settings of a TOML file. Raises ConfigError, which names the file, the line and the key."""
    return _settings_at(path, _read(path))


def read_with_text(path: Path) -> tuple[Settings, str]:
    """Likewise, and the text of the file, for the line of a later error. Raises ConfigError."""
    text = _read(path)
    return _settings_at(path, text), text


def _read(path: Path) -> str:
    where = str(path)
    try:
        return read_trusted(path, LARGEST).decode("utf-8")
    except FileProblem as error:
        raise ConfigError(where, "", error.problem) from None
    except UnicodeDecodeError as error:
        raise toml_text.not_utf8(where, error.object, error.start) from None


def _settings_at(path: Path, text: str) -> Settings:
    settings = parse_text(text, str(path))
    if "lease_files" in settings:
        settings["lease_files"] = tuple(path.absolute().parent / file for file in settings["lease_files"])
    for field in PATHS & settings.keys():
        settings[field] = path.absolute().parent / settings[field]
    if "page_notify" in settings:
        settings["page_notify"] = tuple(map(partial(_placed, path.absolute().parent), settings["page_notify"]))
    return settings


def parse_text(text: str, where: str) -> Settings:
    """The settings of a text, with paths as written. ``where``: its name in errors. Raises ConfigError."""
    with locate_errors(text, where):
        return _settings(where, parse_tables(text, where))


def _settings(where: str, document: Mapping[str, object]) -> Settings:
    settings: Settings = {}
    for name, table in document.items():
        if name not in TABLES:
            raise ConfigError(where, name, _unknown_word(name, TABLES, "tables"))
        if name == "lan":
            settings |= _lans(where, table)
        elif name == "notify":
            settings["page_notify"] = _targets(where, table)
        else:
            settings |= _table(where, name, name, table, KEYS[name])
    return settings


def _targets(where: str, value: object) -> tuple[NotifyTarget, ...]:
    """All ``[[notify]]``."""
    if not isinstance(value, list):
        problem = f"got {toml_text.describe(value)}; accepted: [[notify]], once for each target"
        raise ConfigError(where, "notify", problem)
    tables = {f"notify[{index}]": table for index, table in enumerate(value)}
    return tuple(
        notify_tables.made_target(where, place, _table(where, "notify", place, table, NOTIFY))
        for place, table in tables.items()
    )


def _placed(directory: Path, target: NotifyTarget) -> NotifyTarget:
    """The target with its files at their places: a relative path starts at the directory of the configuration."""
    paths = {name: getattr(target, name) for name in notify_tables.PATHS}
    return replace(target, **{name: directory / path for name, path in paths.items() if path is not None})


def _lans(where: str, value: object) -> Settings:
    """The settings of ``[lan]``, or of all ``[[lan]]``."""
    places = {f"lan[{index}]": table for index, table in enumerate(value)} if isinstance(value, list) else {}
    tables = {
        place: _table(where, "lan", place, table, KEYS["lan"])
        for place, table in (places or {"lan": value}).items()
    }
    return lan_tables.merged(where, tables)


def _table(where: str, name: str, place: str, table: object, keys: Mapping[str, Key]) -> Settings:
    """The settings of one table. ``place``: its key path."""
    if not isinstance(table, dict):
        problem = f"got {toml_text.describe(table)}; accepted: a table, such as [{name}] on a line of its own"
        raise ConfigError(where, place, problem)
    settings: Settings = {}
    for key, value in table.items():
        known = keys.get(key)
        if known is None:
            raise ConfigError(where, f"{place}.{key}", _unknown_word(key, keys, f"keys of [{name}]"))
        settings[known.field] = _parse(where, f"{place}.{key}", known, value, f"{key} = {known.example}")
    return settings


def read_options(options: Mapping[str, object]) -> Settings:
    """The settings of command-line options: ``--lan`` -> value. None or empty: not given. Raises ConfigError."""
    by_option = {key.option: key for table in KEYS.values() for key in table.values() if key.option}
    return {
        by_option[option].field: _parse(option, "", by_option[option], value, _option_example(by_option[option]))
        for option, value in options.items()
        if value is not None and value != ()
    }


def _option_example(key: Key) -> str:
    """The option with an example value: ``--lan br-lan``."""
    value = _example(key)
    return key.option if isinstance(value, bool) else f"{key.option} {value}"


def _example(key: Key) -> object:
    """An accepted value of the key; of a list its first element."""
    value = tomllib.loads(f"x = {key.example}")["x"]
    return value[0] if isinstance(value, list) else value


def _parse(where: str, key: str, known: Key, value: object, example: str) -> Any:
    try:
        return known.parse(value)
    except values.InvalidValue as rejected:
        if isinstance(value, list | tuple) and rejected.index is not None:
            key, value = f"{key}[{rejected.index}]" if key else "", value[rejected.index]
        value = str(value) if isinstance(value, Path) else value
        show = toml_text.as_toml if type(value) is type(_example(known)) else toml_text.describe
        raise ConfigError(where, key, f"got {show(value)}; accepted: {rejected}, such as {example}") from None


def _unknown_word(word: str, known: Iterable[str], noun: str) -> str:
    from difflib import get_close_matches  # needed only for errors

    near = get_close_matches(word, known, n=1, cutoff=0.6)
    near += [f"{table}.{word}" for table, keys in KEYS.items() if word in keys]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown; {hint}the {noun} are {', '.join(known)}"


def load(
    path: Path | None, options: Mapping[str, object], detect: Detect, fits: Fits = lambda _: None
) -> tuple[Config, tuple[str, ...], Settings]:
    """The configuration, a sentence for each detected setting, and the given settings.

    ``detect`` chooses interfaces that are not given, and checks given ones; ``fits`` checks the whole. Raises
    ConfigError if a value is not accepted, LAN or WAN is missing, or they overlap.
    """
    where = str(path) if path is not None else "command line"
    text = _read(path) if path is not None else ""
    with locate_errors(text, where):
        given = _settings_at(path, text) if path is not None else {}
        by_option = read_options(options)
        if "nat" in by_option:
            given.pop("nat_of_lan", None)
        with lan_tables.name_tables("" if "lan" in by_option else text):
            config, reasons = _configure({**given, **by_option}, where, detect)
            fits(config)
        file = path.absolute() if path is not None else None
        return replace(config, text=text, file=file), reasons, {**given, **by_option}


def _configure(given: Settings, where: str, detect: Detect) -> tuple[Config, tuple[str, ...]]:
    if given.keys() >= {"lan", "wan"}:
        check(Config(**given), where)  # an error in the file is reported before one of the machine
    detected, reasons = detect(given)
    settings = {**detected, **given}
    for field, key in (("lan", "lan.interfaces"), ("wan", "wan.interface")):
        if not settings.get(field):
            raise ConfigError(where, key, f"no {field.upper()} interface; name it here or with --{field} INTERFACE")
    config = Config(**settings)
    check(config, where)
    return config, reasons
