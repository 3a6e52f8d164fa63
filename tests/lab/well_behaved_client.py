"""The well-behaved client beside an attack: what it asks, how long each answer takes, what was lost at first."""

import math
import re
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from subprocess import Popen

from tests.lab.attacks import PORT_CONTROL, SSDP
from tests.lab.end_to_end import Home

PAUSE_S = 0.02
"""Between two questions."""
DATAGRAM_EVERY = 5
"""Rounds: one host is answered 16 reads a second on UDP port 5351."""
NATPMP_RETRY_S = 0.25
"""RFC 6886 section 3.1; then twice as long each time."""
PCP_RETRY_S = 3.0
"""RFC 6887 section 8.1.1."""
SSDP_RETRY_S = 1.0
TRIES = 4
MAPPED = bytes(10) + b"\xff\xff"
SEARCH = (
    'M-SEARCH * HTTP/1.1\r\nHOST: {gateway}:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n'
    "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
)


@dataclass
class WellBehavedClient:
    """A console that reads, refreshes its mappings, and searches; seconds of each answer by kind."""

    home: Home
    map_every: int = 1
    """Rounds. Under a home's own limits a device has 60 requests to map a minute."""
    times: dict[str, list[float]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    """First tries that were not answered in the client's own time, by kind."""
    unanswered: Counter[str] = field(default_factory=Counter)
    """Questions that no try was answered of, by kind."""

    def ask(self, rounds: int | None = None, while_: Callable[[], bool] = lambda: True) -> None:
        """Every kind of question in turn. A lost datagram is sent again, as clients do."""
        point = self.home.point()
        point.add(3074)
        done = 0
        while done != rounds and while_():
            self._timed("read", point.external_address)
            if done % self.map_every == 0:
                self._timed("map", lambda: point.add(3074))
            if done % DATAGRAM_EVERY == 0:
                self._timed("NAT-PMP", self._external_by_natpmp)
                self._timed("PCP", self._refresh_by_pcp)
                self._timed("SSDP", self._search)
            time.sleep(PAUSE_S)
            done += 1

    def p99(self, kind: str) -> float:
        """Seconds."""
        ordered = sorted(self.times[kind])
        return ordered[math.ceil(len(ordered) * 0.99) - 1]

    def _timed(self, kind: str, act: Callable[[], object]) -> None:
        begun = time.perf_counter()
        act()
        self.times.setdefault(kind, []).append(time.perf_counter() - begun)

    def _external_by_natpmp(self) -> None:
        answer = self._datagram("NAT-PMP", PORT_CONTROL, bytes(2), NATPMP_RETRY_S)
        assert not answer or answer[1:4] == b"\x80\x00\x00"

    def _refresh_by_pcp(self) -> None:
        own = MAPPED + self.home.console.address.packed
        data = b"honest-nonce" + struct.pack("!B3xHH", 6, 3075, 3075) + MAPPED + IPv4Address(0).packed
        answer = self._datagram("PCP", PORT_CONTROL, struct.pack("!BBHI", 2, 1, 0, 3600) + own + data, PCP_RETRY_S)
        assert not answer or (answer[1], answer[3]) == (0x81, 0), answer

    def _search(self) -> None:
        """Unicast, which is answered at once."""
        search = SEARCH.format(gateway=self.home.gateway.address).encode()
        answer = self._datagram("SSDP", SSDP, search, SSDP_RETRY_S)
        assert not answer or answer.startswith(b"HTTP/1.1 200 OK")

    def _datagram(self, kind: str, port: int, question: bytes, retry_s: float) -> bytes:
        with self.home.console.inside():
            asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with asker:
            for attempt in range(TRIES):
                asker.settimeout(retry_s * 2**attempt)
                asker.sendto(question, (str(self.home.gateway.address), port))
                try:
                    return asker.recv(2048)
                except TimeoutError:
                    self.lost[kind] += attempt == 0
        self.unanswered[kind] += 1
        return b""


@contextmanager
def attacked(home: Home, name: str, seconds: float, count: int) -> Iterator["Popen[str]"]:
    """The pc attacks; at the end of the block it has stopped. Its stdout has the number of tries."""
    point = home.point("pc")
    paths = (point.control["WANIPConnection"], point.events["WANIPConnection"])
    words = (name, str(home.gateway.address), str(seconds), str(count), *paths, str(home.pc.address))
    process = home.pc.popen([sys.executable, "-m", "tests.lab.attacks", *words], cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def memory_kb(pid: int) -> int:
    """VmRSS of a process."""
    (found,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    return int(found)


def cpu_s(pid: int) -> float:
    """Seconds of user and system time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
