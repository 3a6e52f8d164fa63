"""The policy gate: one pure function, ``decide(policy, facts, request)``, for every request of every protocol.

It has the policy file's schema, loading and tests, the floor, quotas, the identity of devices, and explanations. It
uses no socket, clock, ledger or kernel. What no rule allows is denied.
"""
