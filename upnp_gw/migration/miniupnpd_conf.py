"""Reads miniupnpd.conf as ``readoptionsfile`` of ``options.c`` (miniupnpd 2.3.11) does.

A line is a comment, a permission or ``key=value``. miniupnpd does not start with any other line, nor with an
unknown key; here an unknown key is a setting like others, which is not carried.
"""

from upnp_gw.migration.bounded_text import lines_of
from upnp_gw.migration.original import Format, Line, Original, Permission, Setting
from upnp_gw.migration.permission_line import begins_permission, read_permission
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

MOST_PERMISSIONS = 1000
LEARN_DSCP = "set_learn_dscp"
"""Begins a line of its own kind, where miniupnpd was built with it."""


def read_miniupnpd(data: bytes, where: str) -> Original:
    """The configuration. ``where``: the name of the file for messages. Raises ConfigError."""
    settings: list[Setting] = []
    permissions: list[Permission] = []
    others: list[tuple[Line, str]] = []
    for line in lines_of(data, where):
        text = line.text
        if not text or text.startswith("#"):
            continue
        if begins_permission(text):
            permissions.append(read_permission(line, where))
        elif text.startswith(LEARN_DSCP):
            others.append((line, "packets are not marked here"))
        else:
            settings.append(_setting(line, where))
        if len(permissions) > MOST_PERMISSIONS:
            problem = f"more than {MOST_PERMISSIONS} permission lines; accepted: at most so many"
            raise ConfigError(where, "", problem, line.number)
    return Original(where, Format.MINIUPNPD, tuple(settings), tuple(permissions), tuple(others))


def _setting(line: Line, where: str) -> Setting:
    key, equals, value = line.text.partition("=")
    if not equals or not key.strip():
        problem = f'"{shown(line.text, 60)}": accepted: key=value, a permission (allow or deny), or a comment (#)'
        raise ConfigError(where, "", problem, line.number)
    return Setting(key.rstrip(), value.strip(), line)
