"""Reads a configuration of miniupnpd, of whichever kind it is."""

from upnp_gw.migration.miniupnpd_conf import read_miniupnpd
from upnp_gw.migration.original import Original


def read_original(data: bytes, where: str) -> Original:
    """The configuration. ``where``: the name of the file for messages. Raises ConfigError."""
    return read_miniupnpd(data, where)
