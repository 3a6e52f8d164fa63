"""upnp-gw: a UPnP IGD gateway whose every request passes one policy gate.

The way of a request, and where each step lives:

    servers/      sockets, deadlines, limits; decide nothing
    protocols/    sans-I/O codecs: bytes <-> messages <-> Request, Reply -> bytes
    gateway       the path: facts -> gate -> ledger -> firewall -> store -> reply; the only caller of both
    gate/         decide(policy, facts, request): pure
    ledger/       which mappings exist, their leases and ports; the store on disk
    firewall/     the kernel tables, behind five methods
    events        what happened, for GENA, the audit log and watchers

``model`` and ``request`` hold the words that all of them share. ``protocols``, ``gate`` and ``ledger``
(its store apart) import no asyncio, socket, subprocess, time or random: the time is an argument.
"""

__version__ = "0.1.0"
