"""PCP (RFC 6887), sans-I/O: ``messages`` has the values, ``options``, ``codec`` and ``address`` their bytes;
``mapping`` makes a request to the gateway of a MAP request, and a response of its reply. Nothing here has state.
"""
