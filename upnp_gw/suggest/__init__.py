"""Proposes a policy from evidence, with tests; the operator decides. Pure: no I/O, no clock.

needs.py      evidence -> the ports that devices used, those that they never used, and what was left out
listeners.py  the output of ss or netstat of a host -> its listening ports -> the same
grants.py     needs -> the smallest set of grants, and their tests
held_invariants.py  the operator's invariants that a suggestion has to hold
document.py   the operator's policy file and these grants -> the text of a new policy file, which loads and passes
stale.py      evidence and policy -> unused grants, mappings and devices
"""
