"""PCP (RFC 6887), sans-I/O: ``messages`` are the values, ``options`` and ``codec`` their bytes, ``mapping`` leads
from a MAP request to the gateway's words and back.

No clock, no socket, no state: the same bytes in the same state give the same answer.
"""
