"""The keys of the configuration file that changed since it was read: a restart brings them into force."""

from collections.abc import Iterator

from upnp_gw.config.file import LARGEST, parse_text
from upnp_gw.config.settings import Config, check
from upnp_gw.model.errors import ConfigError
from upnp_gw.system.files import FileProblem, read_trusted
from upnp_gw.text.toml import locate_errors, parse_tables, with_line

OF_PAGE = frozenset({"page", "metrics", "notify"})
"""The tables that the page reads, a process of its own."""


def waiting_keys(config: Config) -> list[str]:
    """A sentence for each key of the file whose value is another one than at the start, with file, line and key.
    One sentence if the file would not be accepted now. Values are not shown: some are secrets.

    Empty if there is no file, or it cannot be read: root reads it at the start, and this user perhaps may not.
    """
    path, before = config.file, config.text
    if path is None:
        return []
    where = str(path)
    try:
        now = read_trusted(path, LARGEST).decode("utf-8")
    except (FileProblem, UnicodeDecodeError):
        return []
    if now == before:
        return []
    try:
        with locate_errors(now, where):
            check(Config(**{"wan": config.wan, "lan": config.lan, **parse_text(now, where)}), where)
        values, old = (dict(_flat(parse_tables(text, where))) for text in (now, before))
    except ConfigError as error:
        return [f"{error}; the next start would end with this"]
    new = [key for key, value in values.items() if key not in old or old[key] != value]
    gone = [key for key in old if key not in values]
    return [
        *(str(with_line(ConfigError(where, key, f"has changed; {_restart(key)}"), now)) for key in new),
        *(str(ConfigError(where, key, f"is not there any more; {_restart(key)}")) for key in gone),
    ]


def _restart(key: str) -> str:
    unit = "upnp-gw-page" if key.partition(".")[0].partition("[")[0] in OF_PAGE else "upnp-gw"
    return f"it counts after a restart: systemctl restart {unit}"


def _flat(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Key path -> value, through tables and lists of tables."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{place}[{index}]")
    else:
        yield place, value
