"""Checks that a request names one of our own addresses. A host name would be DNS rebinding: a web page whose name
leads to the gateway (SR-9)."""

from http import HTTPStatus
from ipaddress import ip_address

from aiohttp import HttpVersion11, web

from upnp_gw.model.network import Network


def wrong_host(request: web.BaseRequest, network: Network, our_port: int) -> HTTPStatus | None:
    """The status to refuse the request with if it names another host; None: it names ours (IGD-027).

    A target in absolute form (``GET http://host/path``, RFC 9112 section 3.2.2) names a host too: both must be
    ours. Only HTTP/1.0 may leave the header out.
    """
    scheme, absolute, rest = request.raw_path.partition("://")
    if absolute and "/" not in scheme and not _is_own(rest.partition("/")[0], network, our_port):
        return HTTPStatus.FORBIDDEN
    hosts = request.headers.getall("Host", [])
    if not hosts:
        return HTTPStatus.BAD_REQUEST if request.version >= HttpVersion11 else None
    if len(hosts) > 1 or not _is_own(hosts[0].strip(), network, our_port):
        return HTTPStatus.FORBIDDEN
    return None


def _is_own(host: str, network: Network, our_port: int) -> bool:
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
