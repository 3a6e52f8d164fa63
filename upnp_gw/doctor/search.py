"""Searches a LAN for other Internet Gateway Devices."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address

from upnp_gw.doctor.machine_state import OtherGateway
from upnp_gw.model.network import Link

GROUP = ("239.255.255.250", 1900)
SEARCH = (
    b"M-SEARCH * HTTP/1.1\r\n"
    b"HOST: 239.255.255.250:1900\r\n"
    b'MAN: "ssdp:discover"\r\n'
    b"MX: 1\r\n"
    b"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
)
"""Devices of version 2 answer a search for version 1 (UDA 1.1 section 1.3.2)."""
ANSWERS_S = 1.5
"""Seconds: MX, and time for the answers to arrive."""
MOST = 16
"""Answers kept at most, against a flood of forged ones."""


class Answers(asyncio.DatagramProtocol):
    """Collects the first answer of each address."""

    def __init__(self, link: Link, own: frozenset[str]) -> None:
        self._link = link
        self._own = own
        self.found: dict[str, OtherGateway] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        source = addr[0]
        on_link = any(IPv4Address(source) in net for net in self._link.networks if net.version == 4)
        if source in self._own or not on_link or source in self.found or len(self.found) >= MOST:
            return
        headers = answer_headers(data)
        if headers is not None:
            self.found[source] = OtherGateway(
                self._link.name, ip_address(source), headers.get("location", ""), headers.get("server", "")
            )


def answer_headers(data: bytes) -> dict[str, str] | None:
    """Headers of the answer of a gateway, names in lower case; None: not the answer of a gateway."""
    first, *lines = data[:2048].decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.") or " 200" not in first:
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return headers if "InternetGatewayDevice" in headers.get("st", "") else None


async def other_gateways(lans: Iterable[Link], own: frozenset[str]) -> tuple[OtherGateway, ...]:
    """Searches all LANs at once and waits for answers. A LAN where sending fails has none."""
    found = await asyncio.gather(*(_on(link, own) for link in lans if link.up and link.ipv4))
    return tuple(gateway for answers in found for gateway in answers)


async def _on(link: Link, own: frozenset[str]) -> tuple[OtherGateway, ...]:
    from_address = str(link.ipv4[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.setblocking(False)
            out = struct.pack("=4s4si", bytes(4), socket.inet_aton(from_address), link.index)
            asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, out)
            asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
            asking.bind((from_address, 0))
            transport, answers = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Answers(link, own), sock=asking
            )
        except OSError:
            return ()
        try:
            transport.sendto(SEARCH, GROUP)
            await asyncio.sleep(ANSWERS_S)
        finally:
            transport.close()
    return tuple(answers.found.values())
