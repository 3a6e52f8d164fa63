"""The configuration: TOML file and options to a frozen ``Config``.

file                 reads file and options
lan_tables           ``[lan]``, or several ``[[lan]]``
settings             ``Config`` and its checks
notify_tables        ``[[notify]]``
page_settings        the part that ``upnp-gw page`` reads
values               parses single values
interface_detection  finds WAN and LAN
"""
