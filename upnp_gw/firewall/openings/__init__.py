"""The packets from the WAN that the kernel's ruleset lets reach a LAN host, compared with the mappings.

    path        follows packets from the WAN to a LAN host
    flows       flows of connection tracking
    kernel_state  the kernel at one moment
    proof       compares all of it with the ledger; permits: the mappings, findings: the result
    sentences   findings in words
    reading     reads the kernel; the other modules are pure

On top of ``rules``, which reads the rules of tables.
"""
