"""The policy gate: one pure function, ``decide(policy, facts, request)``, for every request of every protocol.

Lives here: the policy file's schema, loading and tests, the floor, quotas, identity, explanations.
May not live here: sockets, clocks, the ledger, the kernel. Deny is the last line of code.
"""
