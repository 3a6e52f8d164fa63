"""Reads a configuration of miniupnpd, of whichever kind it is."""

from upnp_gw.migration.miniupnpd_conf import read_miniupnpd
from upnp_gw.migration.openwrt import read_upnpd
from upnp_gw.migration.original import Original
from upnp_gw.migration.uci import is_uci
from upnp_gw.model.errors import ConfigError


def read_original(data: bytes, where: str, network: bytes | None = None, network_where: str = "") -> Original:
    """The configuration. ``where``, ``network_where``: the names of the files for messages. ``network``: OpenWrt's
    ``/etc/config/network``; None: not given. Raises ConfigError."""
    if is_uci(data):
        return read_upnpd(data, where, network, network_where)
    if network is not None:
        problem = "it goes with /etc/config/upnpd of OpenWrt; miniupnpd.conf has the devices itself"
        raise ConfigError(network_where, "", problem)
    return read_miniupnpd(data, where)
