"""The configuration file: the keys that the settings became, in a new file or in the one that is there. Pure."""

from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from upnp_gw.config.file import parse_text
from upnp_gw.config.settings import Config, check
from upnp_gw.migration.settings import Carried, Place, Value
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

HEAD = "Written by upnp-gw import; edit it as you like."
BY_HAND = "cannot be edited as it is written; change it by hand, or write elsewhere: --config-dir DIR"
LONGEST_COMMENT = 70
ORDER = ("lan", "wan", "upnp", "portcontrol", "gate")


def configuration(before: str | None, where: str, carried: Carried, policy: Path) -> str:
    """The text of the configuration. ``before``: that of the file, whose other keys and comments stay; None: there
    is none. ``policy``: the policy file, absolute.

    Raises ConfigError if the file has a mistake, or the result would.
    """
    parse_text(before or "", where)
    try:
        document = tomlkit.parse(before or "")
    except TOMLKitError:  # valid TOML that it does not read
        raise ConfigError(where, "", BY_HAND) from None
    if before is None:
        document.add(tomlkit.comment(HEAD))
    values: Mapping[Place, Value] = {**carried.values, ("gate", "policy"): str(policy)}
    for place in sorted(values, key=lambda place: ORDER.index(place[0])):
        _set(document, where, place, values[place], carried.origins.get(place, "") if before is None else "")
    text = tomlkit.dumps(document)
    check(Config(**{"wan": "", "lan": (), **parse_text(text, where)}), where)
    return text


def _set(document: tomlkit.TOMLDocument, where: str, place: Place, value: Value, origin: str) -> None:
    table, key = place
    if table not in document:
        document.add(tomlkit.nl())
        document.add(table, tomlkit.table())
    if isinstance(document[table], AoT | list):
        raise ConfigError(where, table, BY_HAND)
    item = tomlkit.item(value)
    if origin:
        item.comment(shown(origin, LONGEST_COMMENT))
    document[table][key] = item
