"""upnp-gw: a UPnP IGD gateway whose every request passes one policy gate.

The way of a request, and the package of each step:

    servers/      sockets, deadlines, limits; decide nothing
    protocols/    sans-I/O codecs: bytes <-> messages <-> Request, Reply -> bytes
    engine/       the way: facts -> gate -> ledger -> firewall -> store -> reply -> events
    gate/         decide(policy, facts, request): pure
    ledger/       the mappings in memory, their leases and ports; events
    firewall/     the kernel tables, behind five methods
    store/        the ledger and the audit log on disk

``model`` has the types that all of them share. ``protocols``, ``gate`` and ``ledger`` import no asyncio, socket,
subprocess, time or random: the time is an argument. ARCHITECTURE.md lists all packages.
"""

try:
    from upnp_gw._version import __version__ as __version__
except ImportError:  # a checkout that was never built
    __version__ = "0+unknown"

RELEASE = __version__.partition("+")[0]
"""The version without the commit of a build between releases: other hosts see it."""
