"""The policy gate: one pure function, ``decide(policy, facts, request)``, for every request of every protocol.

It uses no socket, clock, ledger or kernel. What no rule allows is denied.

A decision:

decide           the verdict; decide_removal: that on a delete
decision         ``Facts`` and ``Verdict``
facts            from a request to its facts: the device, its zone and names
floor            what no policy can allow
match            whether a rule matches; index: which rules can
hours            days and minutes of a rule; remote: its remote hosts; remote_match: what is left of a request's
explain          why each rule matched or did not

Devices and questions:

device_history   what a device did: changes, ports, refusals, incidents; device_entry: one device
approval_queue   the questions that wait; question: one of them; terms: what an approval allows

The policy file:

load             a whole file, or an error with its line
policyfile       its tables and keys; accepted: the accepted values in words
values           reads values; portset, read_times, read_remote: ports, hours and dates, remote hosts
address_lists    reads lists of remote hosts; list_files: their files
meanings         the meaning and the default of each key, for the manual
build            from tables to the policy; rules: its forbids and grants
schema           the policy as ``decide`` reads it; digest: the digest over its meaning
builtin          the policy in force without a file
lint             warnings about a policy
file_tests       its ``[[test]]`` blocks; expected: their answers
invariant        its ``[[never]]`` and ``[[always]]``; read_invariants: reads them; invariant_checks: proves them
proof            proofs over all requests; crossed: the invariants that the operator's own mapping crosses
managed_file     the operator's commands' file; managed_edit: changes its text; operator_rules: its rules
"""
