"""The nouns that every package shares: mappings, requests, links, devices, DHCP leases, decision records, errors.

Frozen values; nothing here does I/O or reads a clock.
"""
