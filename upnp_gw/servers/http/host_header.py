"""Checks that a request names one of our own addresses. A host name would be DNS rebinding: a web page whose name
leads to the gateway (SR-9)."""

from http import HTTPStatus
from ipaddress import ip_address

from upnp_gw.model.network import Network
from upnp_gw.protocols.http.head import HTTP_1_1, Head

REMEMBERED_MAX = 256
"""Most names with their answers that ``HostCheck`` remembers."""
LONGEST = 128
"""Characters. An address with brackets, zone and port is shorter. A longer name is not ours, and not remembered."""


class HostCheck:
    """Remembers which names of hosts are ours, until the network changes."""

    def __init__(self) -> None:
        self._network: Network | None = None
        self._known: dict[str, bool] = {}

    def wrong_host(self, head: Head, network: Network, our_port: int) -> HTTPStatus | None:
        """The status to refuse the request with if it names another host; None: it names ours (IGD-027).

        A target in absolute form (``GET http://host/path``, RFC 9112 section 3.2.2) names a host too: both must be
        ours. Only HTTP/1.0 may leave the header out.
        """
        if head.authority is not None and not self._is_own(head.authority, network, our_port):
            return HTTPStatus.FORBIDDEN
        host = head.headers.get("host")
        if host is None:
            return HTTPStatus.BAD_REQUEST if head.version >= HTTP_1_1 else None
        return None if self._is_own(host.strip(), network, our_port) else HTTPStatus.FORBIDDEN

    def _is_own(self, host: str, network: Network, our_port: int) -> bool:
        if len(host) > LONGEST:
            return False
        if network is not self._network or len(self._known) >= REMEMBERED_MAX:
            self._network = network
            self._known.clear()
        known = self._known.get(host)
        if known is None:
            known = self._known[host] = is_own(host, network, our_port)
        return known


def is_own(host: str, network: Network, our_port: int) -> bool:
    """True for one of our addresses with our port, or without a port, as aioupnp sends it."""
    literal, port = split_host(host)
    if port not in ("", str(our_port)):
        return False
    try:
        address = ip_address(literal)
    except ValueError:
        return False
    return any(address == own.ip for link in network.lans for own in link.addresses)


def split_host(host: str) -> tuple[str, str]:
    """Address and port of a Host header: no brackets, no zone; the port is empty if there is none."""
    if host.startswith("["):
        literal, _, port = host[1:].partition("]")
        return literal.partition("%")[0], port.removeprefix(":")
    literal, _, port = host.partition(":")
    return literal, port
