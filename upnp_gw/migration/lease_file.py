"""The lease files of miniupnpd: port mappings (``lease_file``) and IPv6 pinholes (``lease_file6``). Pure.

Each line is one lease (miniupnpd's upnpredirect.c and upnppinhole.c, versions 1.2 to 2.3.11)::

    PROTOCOL:EXTERNAL PORT:INTERNAL CLIENT:INTERNAL PORT:END:DESCRIPTION
    PROTOCOL;INTERNAL CLIENT;INTERNAL PORT;REMOTE HOST;REMOTE PORT;UNIQUE ID;END;DESCRIPTION

END is 0 for a lease without an end, else a time in seconds since 1970. A miniupnpd that was built to store the
remaining time writes seconds from the moment at which it wrote the file. The file does not name the protocol of
the client. miniupnpd writes it into the description of leases over NAT-PMP and PCP. The remote host of a port
mapping is not in the file.

The descriptions come from LAN hosts, and with them whole lines: miniupnpd before 2.3.11 writes a line feed that is
in a description.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from upnp_gw.model.mapping import Endpoint, IPAddress, Transport, Via

MOST_LINES = 65_535
"""The most lines that are read: as many as there are ports."""
MOST_BYTES = 16 * 2**20
LONGEST_LINE = 1024
"""Bytes. miniupnpd itself reads no more than 320 of a line."""
LONGEST_DESCRIPTION = 256
"""Characters of a description in the ledger."""
FIRST_TIME = 1_000_000_000
"""Seconds since 1970, in September 2001. If all ends are below it, they are remaining times."""

NATPMP = re.compile(rb"NAT-PMP \d{1,5} (tcp|udp)", re.IGNORECASE)
"""The description of a lease over NAT-PMP, with its external port."""
PCP = re.compile(rb"PCP (MAP|PEER) [0-9a-f]{24}")
"""The description of a lease over PCP, with the client's mapping nonce, which is secret."""
_FORMS = {
    b":": "PROTOCOL:PORT:ADDRESS:PORT:TIME:DESCRIPTION",
    b";": "PROTOCOL;ADDRESS;PORT;REMOTE HOST;PORT;NUMBER;TIME;DESCRIPTION",
}
_TRANSPORTS = {b"TCP": Transport.TCP, b"UDP": Transport.UDP}
_ANYBODY = frozenset({b"", b"*", b"(null)"})
"""The words for any remote host; the last one is what some C libraries print."""


@dataclass(frozen=True, slots=True)
class FileLease:
    """One line with a lease."""

    line: int
    transport: Transport
    external_port: int
    internal: Endpoint
    ends_at: int | None
    """Seconds since 1970; None: never."""
    via: Via
    description: str
    """Empty for leases over NAT-PMP and PCP."""
    remote: IPAddress | None = None
    """Only for pinholes; None: anyone."""
    remote_port: int = 0


@dataclass(frozen=True, slots=True)
class LeaseFile:
    """The content of a file. Each line with something in it is in one of the lists."""

    leases: tuple[FileLease, ...]
    """Those that still run, in the order of the file. Of two lines for one port of a client the last one counts."""
    expired: tuple[FileLease, ...]
    broken: tuple[tuple[int, str], ...]
    """Lines that are no lease, by number, each with the reason."""
    repeated: int = 0
    """Lines that a later line for the same port of the same client replaces."""
    remaining_times: bool = False
    """The ends are counted from the time of the file."""


class _Broken(Exception):
    """The line is no lease. The text is the reason, without a byte of the line."""


def read_lease_file(data: bytes, now: float, written: float) -> LeaseFile:
    """``now``: seconds since 1970; ``written``: those of the file's last change."""
    found: list[FileLease] = []
    broken: list[tuple[int, str]] = []
    for number, line in _lines(data):
        if number > MOST_LINES:
            broken.append((number, f"the lines from here on are not read: the limit is {MOST_LINES} lines"))
            break
        try:
            found.append(_lease(number, line))
        except _Broken as problem:
            broken.append((number, str(problem)))
    ends = [lease.ends_at for lease in found if lease.ends_at is not None]
    remaining = bool(ends) and max(ends) < FIRST_TIME
    if remaining:
        found = [one if one.ends_at is None else replace(one, ends_at=one.ends_at + int(written)) for one in found]
    last = {(one.transport, one.external_port, one.internal, one.remote, one.remote_port): one for one in found}
    single = sorted(last.values(), key=lambda lease: lease.line)
    return LeaseFile(
        leases=tuple(one for one in single if one.ends_at is None or one.ends_at > now),
        expired=tuple(one for one in single if one.ends_at is not None and one.ends_at <= now),
        broken=tuple(broken),
        repeated=len(found) - len(single),
        remaining_times=remaining,
    )


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers and texts of the lines with something in them, from 1 on."""
    begin, number = 0, 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        number += 1
        line = data[begin:end].strip(b" \t\r")
        if line:
            yield number, line
        if number > MOST_LINES:
            return
        begin = end + 1


def _lease(number: int, line: bytes) -> FileLease:
    """Raises _Broken."""
    if len(line) > LONGEST_LINE:
        raise _Broken(f"longer than {LONGEST_LINE} bytes")
    if b"\0" in line:
        raise _Broken("it has a NUL byte")
    semicolon = re.match(rb"[A-Za-z]*;", line) is not None
    separator = b";" if semicolon else b":"
    fields = line.split(separator, 7 if semicolon else 5)
    if len(fields) != (8 if semicolon else 6):
        raise _Broken(f"accepted: {_FORMS[separator]}")
    return _pinhole(number, fields) if semicolon else _port_mapping(number, fields)


def _port_mapping(number: int, fields: list[bytes]) -> FileLease:
    protocol, external, client, internal, end, description = fields
    via, text = _described(description)
    return FileLease(
        line=number,
        transport=_transport(protocol),
        external_port=_number(external, "external port", 1, 65535),
        internal=Endpoint(_ipv4(client), _number(internal, "internal port", 1, 65535)),
        ends_at=_number(end, "time", 0, 2**32 - 1) or None,
        via=via,
        description=text,
    )


def _pinhole(number: int, fields: list[bytes]) -> FileLease:
    protocol, client, internal, remote, remote_port, _, end, description = fields
    via, text = _described(description)
    port = _number(internal, "internal port", 1, 65535)
    return FileLease(
        line=number,
        transport=_transport(protocol),
        external_port=port,
        internal=Endpoint(_ipv6(client, "internal client"), port),
        ends_at=_number(end, "time", 0, 2**32 - 1) or None,
        via=via,
        description=text,
        remote=None if remote in _ANYBODY else _ipv6(remote, "remote host"),
        remote_port=_number(remote_port, "remote port", 0, 65535),
    )


def _described(description: bytes) -> tuple[Via, str]:
    """The protocol that a description shows, and the description without secrets and control characters."""
    description = description.strip()
    if NATPMP.fullmatch(description):
        return Via.NATPMP, ""
    if PCP.fullmatch(description):
        return Via.PCP, ""
    text = "".join(c for c in description.decode("utf-8", "replace") if c.isprintable())
    return Via.IGD1, text[:LONGEST_DESCRIPTION]


def _transport(word: bytes) -> Transport:
    found = _TRANSPORTS.get(word.upper())
    if found is None:
        raise _Broken("the protocol is not TCP or UDP")
    return found


def _number(word: bytes, what: str, least: int, most: int) -> int:
    if not (word.isdigit() and len(word) <= 10 and least <= int(word) <= most):
        raise _Broken(f"the {what} is not {least} to {most}")
    return int(word)


def _ipv4(word: bytes) -> IPv4Address:
    try:
        return IPv4Address(word.decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        raise _Broken("the internal client is not an IPv4 address") from None


def _ipv6(word: bytes, what: str) -> IPv6Address:
    try:
        address = IPv6Address(word.decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        raise _Broken(f"the {what} is not an IPv6 address") from None
    if address.scope_id:
        raise _Broken(f"the {what} has a zone")
    return address
