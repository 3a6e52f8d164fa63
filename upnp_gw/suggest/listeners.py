"""Reads the listening ports of a host from the output of ``ss`` or ``netstat``. This is weaker than evidence: it
shows which ports could be reached, not which must be. Lines that cannot be parsed are skipped.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from upnp_gw.gate.portset import normalized
from upnp_gw.model.mapping import Transport
from upnp_gw.suggest.needs import Learned, PortNeed
from upnp_gw.text.escape import shown

LONGEST_PROGRAM = 40
MOST_LINES = 20_000
EPHEMERAL = 32768
"""A UDP socket from this port up usually belongs to a client (Linux: ip_local_port_range)."""
LAN_ONLY = {
    53: "DNS",
    67: "DHCP",
    68: "DHCP",
    69: "TFTP",
    111: "portmapper",
    123: "NTP",
    161: "SNMP",
    546: "DHCPv6",
    547: "DHCPv6",
    631: "printing",
    1900: "SSDP",
    2049: "NFS",
    3702: "WS-Discovery",
    5353: "mDNS",
    5355: "LLMNR",
}
"""Services of a LAN, which no remote host needs."""

_PROTO = re.compile(r"(?i)(tcp|udp)(?:4|6|46)?")
_STATES = {"LISTEN": Transport.TCP, "LISTENING": Transport.TCP, "UNCONN": Transport.UDP}
_SS_PROGRAM = re.compile(r'users:\(\("([^"]*)"')
_NETSTAT_PROGRAM = re.compile(r"\s\d+/(\S+)")
_WILD = frozenset({"*", "0.0.0.0", "::", "[::]", ""})


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A listening port that other hosts can reach."""

    transport: Transport
    port: int
    program: str = ""
    """As the host wrote it, not escaped."""


def parse_listeners(text: str) -> tuple[Listener, ...]:
    """The listeners in the output of ``ss -ltunp`` or ``netstat -ltunp`` (Linux), ``netstat -an`` (BSD, macOS,
    Windows), without those on a loopback or link-local address."""
    listeners: dict[tuple[Transport, int], Listener] = {}
    for line in text.splitlines()[:MOST_LINES]:
        listener = _listener(line)
        if listener is not None:
            key = listener.transport, listener.port
            if key not in listeners or (listener.program and not listeners[key].program):
                listeners[key] = listener
    return tuple(sorted(listeners.values()))


def _listener(line: str) -> Listener | None:
    words = line.split()
    transport = _transport(words)
    if transport is None:
        return None
    ends = [end for word in words if (end := _end(word)) is not None]
    if not ends or not _is_open(ends[0][0]):
        return None
    (_, port), *rest = ends
    waits = not rest or rest[0][1] == 0  # a datagram socket that has a peer is a client's
    if not 1 <= port <= 65535 or not waits:
        return None
    return Listener(transport, port, _program(line))


def _transport(words: list[str]) -> Transport | None:
    """The transport of a line; TCP only in a listening state. For one protocol, the first word of ss is the
    state."""
    upper = [word.upper() for word in words]
    states = [_STATES[word] for word in upper if word in _STATES]
    proto = _PROTO.fullmatch(words[0]) if words else None
    if proto is None:
        return states[0] if upper and upper[0] in _STATES else None
    transport = Transport(proto[1].lower())
    if transport is Transport.TCP and Transport.TCP not in states:
        return None
    return transport


def _end(word: str) -> tuple[str, int] | None:
    """``0.0.0.0:22``, ``[::]:22``, ``:::22``, ``*:22``, ``*.22``, ``127.0.0.53%lo:53``, ``*:*`` -> address, port
    (0: any)."""
    for separator in ":.":
        host, separated, port = word.rpartition(separator)
        if not separated or not (port == "*" or (port.isascii() and port.isdigit() and len(port) <= 5)):
            continue
        address = host.strip("[]").partition("%")[0]
        if host in _WILD or _literal(address) is not None:
            return address, 0 if port == "*" else int(port)
    return None


def _literal(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _is_open(host: str) -> bool:
    """True where other hosts could reach this address."""
    if host in _WILD:
        return True
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return not (mapped.is_loopback or mapped.is_link_local or mapped.is_multicast)


def _program(line: str) -> str:
    match = _SS_PROGRAM.search(line) or _NETSTAT_PROGRAM.search(line)
    return match[1][:LONGEST_PROGRAM] if match else ""


def learn_from(listeners: Iterable[Listener], name: str, families: Iterable[int] = (4,)) -> Learned:
    """A need for each listener of the named device, without services of a LAN."""
    learnt = Learned()
    client: list[int] = []
    ordered = sorted(set(listeners))
    served = {listener.port for listener in ordered if listener.transport is Transport.TCP}
    for listener in ordered:
        port = f"{listener.transport} {listener.port}" + (
            f" ({shown(listener.program)})" if listener.program else ""
        )
        if listener.port in LAN_ONLY:
            learnt.notes.append(f"{name}: {port} is {LAN_ONLY[listener.port]}, a service of the LAN")
        elif listener.transport is Transport.UDP and listener.port >= EPHEMERAL and listener.port not in served:
            client.append(listener.port)
        else:
            learnt.needs += [
                PortNeed(name, listener.transport, family, listener.port, why=f"{port} listens on the host")
                for family in families
            ]
    if client:
        spans = ", ".join(
            f"{low}-{high}" if low != high else str(low) for low, high in normalized((p, p) for p in client)
        )
        learnt.notes.append(f"{name}: udp {spans}: probably sockets of clients")
    if learnt.needs:
        learnt.notes.append(
            f"{name}: not every listening port must be reachable from the internet; delete what only the LAN uses"
        )
    return learnt
