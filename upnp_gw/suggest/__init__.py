"""A policy proposed from evidence, with tests; it proposes, the operator decides. Pure: no I/O, no clock.

needs.py      evidence -> what devices needed, what they asked for in vain, and what teaches nothing
listeners.py  the output of ss or netstat of a host -> what listens there -> the same
grants.py     needs -> the smallest set of grants, and their tests
document.py   the operator's policy file and these -> the text of a new one, which loads and passes
stale.py      evidence and policy -> what nobody needs any more
"""
