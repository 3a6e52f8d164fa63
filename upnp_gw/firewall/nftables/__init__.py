"""The real packet filter: one table of our own, ``inet upnp_gw``, whose maps hold the mappings.

    library     libnftables, one context on one thread
    ruleset     the table as text: sets, maps, chains
    elements    which element of which map a forward is
    books       what the maps hold, and the smallest transaction for a batch of changes
    counters    reading elements and their counters
    backend     the four methods
    cutter      ends flows beside the way of the request
    forwarding  the kernel's forwarding switches
    watch       who else changes our table
    inspect     what other tables do to our traffic; foreign: their rules, judged for a sample packet

No text but our own ids and interface names that passed a check, no value but typed addresses and integers reaches
the kernel (SR-12). Nothing here starts a program. Only ``check_library`` forks, before the first thread starts.
"""

from upnp_gw.firewall.nftables.backend import NftablesFirewall, installed_mode, uninstall

__all__ = ["NftablesFirewall", "installed_mode", "uninstall"]
