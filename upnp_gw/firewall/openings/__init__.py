"""The packets from the WAN that the kernel's ruleset lets reach a LAN host, compared with the mappings.

    ranges      sets of numbers
    packets     classes of packets: boxes of ranges
    values      values of the listing as numbers; common_values: interfaces, states, labels, marks
    fields      the field that a match looks at
    matches     splits a class of packets; conditions: makes the matches of a rule
    steps       the steps of rules
    walk        follows packets through chains; path: from the WAN to a LAN host
    flows       flows of connection tracking
    kernel_state  the kernel at one moment
    proof       compares all of it with the ledger; permits: the mappings, findings: the result
    wording     rules in words; sentences: findings in words
    reading     reads the kernel; the other modules are pure

On top of ``other_tables``: its index of tables, its reading of iptables.
"""
