"""Packets to a mapped port, without a pause: ``python3 package_traffic.py ADDRESS PORT`` until SIGTERM.

Makes a new TCP connection every 20 ms, asks a web server on it, and asks on one that stays open. At the end it
prints a line with numbers: connections that were answered, that were lost (refused, cut, 30 s without an answer),
and that needed a packet to be sent again; then answered and lost requests on the one that stayed open. Only the
standard library: it runs on machines without the program.
"""

import signal
import socket
import sys
import time
from types import FrameType

WITHIN_S, PAUSE_S = 30.0, 0.02
TOTAL_RETRANS = 100
"""Offset of tcpi_total_retrans in the kernel's struct tcp_info."""


class Ended(Exception):
    pass


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended


def answered(connection: socket.socket) -> bool:
    """True if the web server answers on this connection, which stays open."""
    try:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: host\r\n\r\n")
        return connection.recv(4096).startswith(b"HTTP/1")
    except OSError:
        return False


def sent_again(connection: socket.socket) -> bool:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TOTAL_RETRANS + 4)
    return info[TOTAL_RETRANS:] != bytes(4)


def main(address: str, port: int) -> None:
    counts = dict.fromkeys(("answered", "lost", "sent again", "kept", "kept lost"), 0)
    signal.signal(signal.SIGTERM, _end)
    kept = socket.create_connection((address, port), WITHIN_S)
    try:
        while True:
            try:
                with socket.create_connection((address, port), WITHIN_S) as connection:
                    counts["answered" if answered(connection) else "lost"] += 1
                    counts["sent again"] += sent_again(connection)
            except OSError:
                counts["lost"] += 1
            counts["kept" if answered(kept) else "kept lost"] += 1
            time.sleep(PAUSE_S)
    except Ended:
        print(", ".join(f"{name} {count}" for name, count in counts.items()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
