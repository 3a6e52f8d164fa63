"""Parses the DHCP lease files of four servers: dnsmasq, Kea (memfile), ISC dhcpd and systemd-networkd.

Any bytes become leases or a problem, never an exception. A host chooses its DHCP name itself: a policy may require
it beside a MAC address, but not instead of one.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address, ip_address
from typing import Any

from upnp_gw.model.device import is_mac
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Neighbours

MOST_LEASES = 65_536
LONGEST_NAME = 63
CLOCKLESS_BELOW = 1_000_000_000
"""dnsmasq built for a machine without a clock writes the length of a lease instead of its end."""
KEA_FOREVER = 0xFFFFFFFF
LATEST = 2**63

_ISC = re.compile(r'"(?:[^"\\]|\\.)*"|[{};]|#[^\n]*|[^\s{};"#]+|"')
_DATE = "%Y/%m/%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Lease:
    """One host's address for a time."""

    address: IPAddress
    mac: str | None
    """Lower case with colons; None: the server does not write it (DHCPv6 by DUID)."""
    name: str | None
    """The host name that the client sent or the server gave it."""
    expires: float | None
    """Wall-clock seconds; None: never, or not known."""

    def live(self, wall: float) -> bool:
        """True if the lease has not ended at this wall-clock second."""
        return self.expires is None or wall < self.expires


@dataclass(frozen=True, slots=True)
class LeaseFile:
    """A lease file and its format."""

    leases: tuple[Lease, ...]
    problem: str | None = None
    """The first part that could not be read. The rest was read."""


class LeaseFileKind(StrEnum):
    """The formats of lease files, by DHCP server."""

    DNSMASQ = "dnsmasq"
    KEA = "kea"
    ISC = "isc"
    NETWORKD = "networkd"


class BadLease(ValueError):
    """A part of a file that is no lease."""


class Leases:
    """The leases of all files, by address and by MAC address. Of two leases for an address the later end counts."""

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self._by_address: dict[IPAddress, Lease] = {}
        for lease in leases:
            known = self._by_address.get(lease.address)
            if known is None or _end(lease) >= _end(known):
                self._by_address[lease.address] = lease
        self._by_mac: dict[str, list[Lease]] = {}
        for lease in self._by_address.values():
            if lease.mac is not None:
                self._by_mac.setdefault(lease.mac, []).append(lease)

    def __len__(self) -> int:
        return len(self._by_address)

    def known(
        self,
        address: IPAddress,
        mac: str | None,
        neighbours: Neighbours,
        wall: float,
        same_lan: Callable[[IPAddress], bool] = lambda address: True,
    ) -> tuple[str | None, bool]:
        """(the host's DHCP name or None, whether address, MAC address and lease agree)

        An IPv6 address that the server did not assign uses a live lease of the same MAC address on the same LAN,
        unless the address of that lease now belongs to another host.
        """
        own = self._by_address.get(address)
        if own is not None and not own.live(wall):
            own = None
        if mac is None:
            return (own.name if own is not None else None), False
        if own is not None and own.mac is not None:
            return (own.name, True) if own.mac == mac else (None, False)
        if address.version == 4:
            return None, False
        # hosts make IPv6 addresses themselves (RFC 8981), so the lease of their MAC address counts
        for lease in self._by_mac.get(mac, ()):
            alive = lease.live(wall) and same_lan(lease.address)
            if alive and neighbours.mac_of(lease.address) in (mac, None):
                return lease.name, True
        return None, False

    def name_of(
        self, mac: str, wall: float, same_lan: Callable[[IPAddress], bool] = lambda address: True
    ) -> str | None:
        """The DHCP name of a device, for display."""
        live = [lease for lease in self._by_mac.get(mac, ()) if lease.live(wall) and same_lan(lease.address)]
        return next((lease.name for lease in live if lease.name), None)


def parse_leases(data: bytes) -> LeaseFile:
    """The leases of a file of any of the four servers. Never raises."""
    text = data.decode("utf-8", "replace")
    kind = lease_file_kind(text)
    if kind is None:
        return LeaseFile(
            (), "not a lease file of dnsmasq, Kea, ISC dhcpd or systemd-networkd" if text.strip() else None
        )
    leases: dict[IPAddress, Lease] = {}
    problem: str | None = None
    for item in _READERS[kind](text):
        if isinstance(item, BadLease):
            problem = problem or f"{kind}: {item}"
        elif isinstance(item, Lease):
            leases[item.address] = item  # the files are logs: the last entry of an address is the one in force
        else:
            leases.pop(item, None)
        if len(leases) > MOST_LEASES:
            problem = f"{kind}: more than {MOST_LEASES} leases"
            break
    return LeaseFile(tuple(leases.values()), problem)


def lease_file_kind(text: str) -> LeaseFileKind | None:
    """The kind of the server that wrote this text; None: unknown."""
    start = text.lstrip()
    if start.startswith("{"):
        return LeaseFileKind.NETWORKD
    if start.startswith("address,"):
        return LeaseFileKind.KEA
    first = next((line for line in start.splitlines() if line.strip() and not line.startswith("#")), "").split()
    if re.search(r"^(?:lease\s+[0-9.]+\s*\{|authoring-byte-order|server-duid|failover peer|ia-)", start, re.M):
        return LeaseFileKind.ISC
    if first[:1] == ["duid"] or (len(first) >= 4 and first[0].isdigit()):
        return LeaseFileKind.DNSMASQ
    return None


Item = Lease | BadLease | IPAddress
"""A lease, a part that cannot be read, or an address whose lease has ended."""


def _dnsmasq(text: str) -> Iterator[Item]:
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if not fields or fields[0] == "duid":
            continue
        try:
            if len(fields) < 4:
                raise BadLease("a lease must have 4 or 5 fields")
            expiry = _seconds(fields[0])
            expires = None if expiry == 0 or expiry < CLOCKLESS_BELOW else float(expiry)
            yield Lease(ip_address(fields[2]), _mac(fields[1]), _name(fields[3]), expires)
        except ValueError as error:
            yield _wrong(f"line {number}", error)


def _kea(text: str) -> Iterator[Item]:
    """A CSV file with a header line, and one line for each change.

    Only a line feed ends a line: a host name may have other characters at which ``str.splitlines`` splits.
    """
    lines = text.split("\n")
    columns = {name: index for index, name in enumerate(lines[0].strip().split(","))}
    for number, line in enumerate(lines[1:], 2):
        cells = line.rstrip("\r").split(",")
        if not line.strip() or cells[0] == "address":
            continue
        try:
            values = {name: cells[index] for name, index in columns.items() if index < len(cells)}
            address = ip_address(values["address"])
            lifetime = _seconds(values["valid_lifetime"])
            if lifetime == 0 or values.get("state", "0") != "0":
                yield address
                continue
            expires = None if lifetime == KEA_FOREVER else float(_seconds(values["expire"]))
            name = values.get("hostname", "").replace("&#x2c", ",").rstrip(".")
            yield Lease(address, _mac(values.get("hwaddr", "")), _name(name.partition(".")[0]), expires)
        except (ValueError, KeyError) as error:
            yield _wrong(f"line {number}", error)


def _isc(text: str) -> Iterator[Item]:
    tokens = (token for token in _ISC.findall(text) if not token.startswith("#"))
    statement: list[str] = []
    for token in tokens:
        if token == "{":
            if len(statement) == 2 and statement[0] == "lease":
                try:
                    yield _isc_lease(statement[1], _block(tokens))
                except ValueError as error:
                    yield _wrong(f"lease {statement[1][:40]!r}", error)
            else:
                for _ in _block(tokens):
                    pass
            statement = []
        elif token in (";", "}"):
            statement = []
        else:
            statement.append(token)


def _block(tokens: Iterator[str]) -> Iterator[list[str]]:
    """The statements of a block up to its end, without those of inner blocks."""
    depth, statement = 1, list[str]()
    for token in tokens:
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            statement = []
            if depth == 0:
                return
        elif token == ";":
            if depth == 1 and statement:
                yield statement
            statement = []
        else:
            statement.append(token)


def _isc_lease(address: str, statements: Iterator[list[str]]) -> Item:
    mac, name, expires, active = None, None, None, True
    for statement in statements:
        match statement:
            case ["hardware", "ethernet", text]:
                mac = _mac(text)
            case ["client-hostname", text]:
                name = _name(text.strip('"'))
            case ["binding", "state", state]:
                active = state == "active"
            case ["ends", "never"]:
                expires = None
            case ["ends", "epoch", seconds]:
                expires = float(_seconds(seconds))
            case ["ends", _, day, time]:
                expires = datetime.strptime(f"{day} {time}", _DATE).replace(tzinfo=UTC).timestamp()
    ip = IPv4Address(address)
    return Lease(ip, mac, name, expires) if active else ip


def _networkd(text: str) -> Iterator[Item]:
    """The state of systemd's DHCP server (PersistLeases=)."""
    try:
        leases = json.loads(text)["Leases"]
        if not isinstance(leases, list):
            raise BadLease("Leases is not a list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield _wrong("the file", error)
        return
    for number, entry in enumerate(leases, 1):
        try:
            ends = entry.get("ExpirationRealtimeUSec")
            hardware = entry.get("HardwareAddress") or _client_mac(entry.get("ClientId"))
            if not isinstance(entry["Address"], list):  # bytes() of a number is as many zeros
                raise BadLease("Address is not a list")
            yield Lease(
                ip_address(bytes(entry["Address"])),
                ":".join(f"{octet:02x}" for octet in bytes(hardware)) if hardware and len(hardware) == 6 else None,
                _name(entry.get("Hostname") or ""),
                ends / 1_000_000 if isinstance(ends, int) and ends < 2**63 else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            yield _wrong(f"lease {number}", error)


def _client_mac(client: Any) -> Any:
    """The MAC address in a client identifier of type 1 (RFC 2132 section 9.14)."""
    return client[1:] if isinstance(client, list) and len(client) == 7 and client[0] == 1 else None


_READERS: Mapping[LeaseFileKind, Callable[[str], Iterator[Item]]] = {
    LeaseFileKind.DNSMASQ: _dnsmasq,
    LeaseFileKind.KEA: _kea,
    LeaseFileKind.ISC: _isc,
    LeaseFileKind.NETWORKD: _networkd,
}


def _wrong(where: str, error: Exception) -> BadLease:
    return BadLease(f"{where}: {error}" if isinstance(error, BadLease) else f"{where} cannot be read")


def _seconds(text: str) -> int:
    """A count of seconds that a clock can show."""
    value = int(text)
    if not 0 <= value < LATEST:
        raise BadLease("a time that no clock shows")
    return value


def _mac(text: str) -> str | None:
    """dnsmasq writes ``06-aa:..`` for other links than Ethernet."""
    value = text.lower()
    return value if is_mac(value) else None


def _name(text: str) -> str | None:
    """A name as it may be shown and compared; None for none."""
    if not isinstance(text, str) or text in ("", "*") or len(text) > LONGEST_NAME or not text.isprintable():
        return None
    return text


def _end(lease: Lease) -> float:
    return float("inf") if lease.expires is None else lease.expires
