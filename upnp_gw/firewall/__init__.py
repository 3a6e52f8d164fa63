"""The packet filter behind five methods: open, apply, read, read_growth, close (``base.Firewall``).

    base          the contract, and the changes
    nftables/     the kernel's nftables
    memory        a dict, for the emulator and unit tests; one contract suite runs against both
    conntrack     finds and ends flows; flows: which ones; conntrack_dumps: the kernel's filters for them;
                  conntrack_timeouts: when it forgets a flow
    labels        conntrack labels of our table
    netlink       nfnetlink
    tables        which tables there are
    libnftables   the library, loaded from the distribution
    rules/        reads the rules of tables, and follows packets through them
    other_tables/ what other tables do to our traffic
    openings/     what all tables let in from the WAN, compared with the ledger

Only the gateway's writer calls ``apply``. Nothing here decides.
"""
