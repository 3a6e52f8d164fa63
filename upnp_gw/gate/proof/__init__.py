"""Proofs about a policy over all requests, by an exact algebra of boxes. Pure.

spans            sets of numbers: ports, minutes, addresses
boxes            products of sets, with intersection and difference
dimensions       the dimensions of a request, and the reason why a fact is none
space            the values that the rules of some policies can tell apart; days: the kinds of days
rules            forbids and grants as regions; leases: the longest lease of a grant
answers          what a policy opens and asks about
scope            the requests of an invariant
prove            proves an invariant, or finds a request that violates it
witness          a concrete request of a box, decided by ``decide``; verdicts: what the decision lets through
room             the quotas that a witness needs
differences      two policies compared, in the largest boxes; device_table: everything that one device can open
overlaps         grants that match the same requests
opened           whether a policy can allow an opening of the kernel
question         a question in words; words, describe: requests and boxes in words
"""
