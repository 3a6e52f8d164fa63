"""The mappings in memory: who holds them, where they lead and when they end. No I/O; the time is an argument.

table         all mappings, with an index for each question of a request; TableDelta undoes a batch
row_index     its indexes, small enough for 36,000 rows
transaction   one operation on the ledger, and what it publishes
plan          from an allowed request to the row to put, or to the conflict
refusals      the reasons against a mapping that the gate allows
conflicts     rows that the kernel could not hold beside another one
ports         choice of an external port
filters       who may connect: PCP FILTERs and prefixes of a grant, as the kernel can hold them
reachable     whether a change lets anybody reach more
leases        ends of leases, times of the next check
charges       what counts against a device's quotas
forwards      from changed rows to changes of the kernel
pending_cuts  ended mappings whose flows are not cut yet
epoch         the epoch of NAT-PMP and PCP
igd_view      what a control point may read
igd_key       the mapping that a key of IGD means, which does not name the internal client
events        what happened, for GENA, the audit log and watchers
traffic       the traffic of ports over two days, for charts
bounded_rows  rows that are bounded in number, and their changes
evidence      how mappings were used over weeks, for ``suggest`` and ``stale``
"""
