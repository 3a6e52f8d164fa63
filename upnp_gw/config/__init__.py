"""The configuration: TOML file and options to a frozen ``Config``.

file                 reads file and options; reference: its keys in words, with defaults
lan_tables           ``[lan]``, or several ``[[lan]]``
settings             ``Config`` and its checks
notify_tables        ``[[notify]]``
page_settings        the part that ``upnp-gw page`` reads
changed_keys         the keys of the file that wait for a restart
file_places          the places that it names, for commands while the gateway is stopped
values               parses single values
interface_detection  finds WAN and LAN
"""
