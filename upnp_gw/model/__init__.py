"""The nouns that every package shares. Frozen values; nothing here does I/O or reads a clock.

request           requests and replies, the same for every protocol
mapping           transports, endpoints, port mappings, pinholes, leases, the instant
network           links, addresses, neighbours, ports of the gateway itself
public_addresses  addresses that the internet cannot reach
prefixes          sums over address prefixes
address_ranges    sets of addresses, up to hundreds of thousands of prefixes
device            identifiers of devices
dhcp              parses lease files of DHCP servers
above             the gateway above: what it is asked, what it answers, how it stands
records           a decision as it is stored and shown
errors            exceptions
"""
