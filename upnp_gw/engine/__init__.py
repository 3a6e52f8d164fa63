"""The way of a change: a request, a due lease, a new policy or a command of the operator.

gateway              takes every request, and answers it
writer               makes all changes, one after the other: ledger, then kernel_and_store, in batches
persistence          the store's side of the writer; write_backlog: changes while the disk fails
requests             the changes of each kind of request
refresh              decides a request as a refresh or as new
decider              facts, verdict and record of a decision; environment: the network at that moment
audit                the records; request_log: debug lines of a request
asking_above         requests that need the gateway above; leases_above: its leases, in step with the ledger
above_rules          which mappings need it; above_changes: what its answers change
takeover             leases of the gateway that ran here before
operator_question    questions to the operator
datagram_requests, delete_any_protocol, former_addresses, moved_devices, full_quota: special kinds of requests
contested_addresses  parks mappings to an address that several hosts claim
reevaluation         decides again about mappings; unchanged_rows: those that a start leaves as they are
late_lans            mappings that wait for a LAN that is not there yet
scheduler            due work: leases, renewals, cuts, counters
revocation           ends the mappings of a device
crossed_invariants   the invariants that the operator's own mappings cross
policy_in_force      the policy; policy_files, policy_reload, kept_policies: its files, changes and history
device_persistence   devices, incidents and questions in the store; stored_devices: their present identifiers
erasure              erases what is kept of a device
epoch                the epoch of NAT-PMP and PCP
usage_reader         the kernel's counters; evidence_collector: evidence of requests and use
other_tables         other nftables tables; judged_tables: what they do to our traffic (table_effects)
obstacles, reserved_ports: the effects of these tables for mappings
measurements         counts and times of this run
list_loading         long lists of remote hosts, in portions
kernel_proof         the kernel compared with the ledger
over_share           packets over a host's share; refusal_counter: refused requests of a device that floods
garbage_collection   short pauses of the garbage collector
status_page          whether a page for people runs
build                makes all of these
"""
