"""Long runs with faults: a home of four hosts, sixteen clients that never rest, and what can go wrong around them.

faulty      the daemon with fault points: the real one, wrapped where it meets the kernel and the disk
household   the home it serves, the faults that can be put into it, and the invariants
load        the clients, and a record of their answers
calamity    the table of faults of a soak
__main__    the command: python -m tests.soak --minutes N
"""
