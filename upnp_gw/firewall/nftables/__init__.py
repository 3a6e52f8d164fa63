"""The real packet filter: one table of our own, ``inet upnp_gw``, whose maps hold the mappings.

    ruleset        the table as text: sets and maps; chains: its rules; shares, exchanges, anycast: parts of it
    elements       which element of which map a forward is
    state          what the maps hold; names: the forwards of one place
    ruleset_delta  the smallest transaction for a batch of changes
    refill         the contents of all maps at once
    element_edits  its edits of elements, in their order
    element_messages  the edits as netlink messages; element_text: as nft commands
    element_writer writes the edits, by the one or the other
    host_messages  runs of addresses as messages; own_set_messages: our own interfaces and addresses
    screens        mappings for hosts of address lists, as text; screening: makes and removes their sets and rules
    overlay        a dict with pending changes
    counters       reads elements and their counters
    totals         the counts of each forward over all its elements
    growth         reads the increase of the counters, while the other threads go on
    backend        the five methods
    flow_teardown  ends flows on a thread of its own
    sysctl         the kernel's forwarding switches
    monitor        changes of tables by other programs

No text but our own ids and interface names that passed a check, no value but typed addresses and integers reaches
the kernel (SR-12). Nothing here starts a program. Only ``check_library`` forks, before the first thread starts.
"""

from upnp_gw.firewall.nftables.backend import NftablesFirewall, installed_mode, uninstall
from upnp_gw.firewall.nftables.element_writer import Writing

__all__ = ["NftablesFirewall", "Writing", "installed_mode", "uninstall"]
