"""The listening sockets of the page: one for the operator, one for metrics, and one on each LAN address.

A socket on a LAN is bound to its interface: nothing that comes in on the WAN reaches it, whatever its target is.
Binding needs no capability (Linux 5.7).
"""

import logging
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_interface

from upnp_gw import api
from upnp_gw.config.page_settings import PageSettings
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Endpoint, IPAddress
from upnp_gw.page.certificate import fingerprint, own_pair
from upnp_gw.system.files import FileProblem

log = logging.getLogger(__name__)

BACKLOG = 64
LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class Place:
    """An address of a LAN and its interface."""

    address: IPAddress
    interface: str

    def __str__(self) -> str:
        return f"{self.address}%{self.interface}"


def places(lans: Iterable[api.LanState]) -> frozenset[Place]:
    """The addresses of the page for the LAN: all of the LANs that the daemon serves, except link-local ones."""
    return frozenset(
        Place(address, lan.interface)
        for lan in lans
        for text in lan.addresses
        if not (address := ip_interface(text).ip).is_link_local
    )


def bound(endpoint: Endpoint, interface: str = "") -> socket.socket:
    """A listening socket. ``interface``: packets of any other one do not reach it. Raises OSError."""
    address = endpoint.address
    listener = socket.socket(
        socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    )
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if interface:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        listener.bind((str(address), endpoint.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def configured_listener(key: str, listen: Endpoint, lans: Iterable[api.LanState] | None) -> socket.socket:
    """The socket of ``page.listen`` or ``metrics.listen``, bound to the LAN of its address if that is not the
    loopback's.

    ``key``: of the configuration. ``lans``: None: the daemon does not answer. Raises ConfigError.
    """
    interface = ""
    if not listen.address.is_loopback:
        if lans is None:
            problem = "the gateway knows on which LAN this address is, and it does not answer: start it first"
            raise ConfigError(key, str(listen), problem)
        known = {place.address: place.interface for place in places(lans)}
        if listen.address not in known:
            accepted = ", ".join(sorted(str(address) for address in known)) or "none now"
            problem = f"not an address of a LAN of the gateway; accepted: the loopback, or one of: {accepted}"
            raise ConfigError(key, str(listen), problem)
        interface = known[listen.address]
    try:
        return bound(listen, interface)
    except OSError as error:
        raise ConfigError(key, str(listen), f"cannot listen there: {error.strerror}") from None


def tls_context(settings: PageSettings) -> ssl.SSLContext | None:
    """None: the operator's page is served without TLS. Raises ConfigError."""
    if not settings.tls:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if settings.certificate is None or settings.key is None:
            pair = own_pair(settings.state_dir, settings.listen.address, settings.names)
            log.info("the page has a certificate of its own, SHA-256 %s", fingerprint(pair[0]))
        else:
            pair = settings.certificate, settings.key
        context.load_cert_chain(*pair)
    except FileProblem as error:
        raise ConfigError("page.state_dir", str(error.path), error.problem) from None
    except (OSError, ValueError) as error:
        problem = "certificate and key cannot be used: " + (getattr(error, "strerror", None) or "not a pair in PEM")
        raise ConfigError("page.certificate", str(settings.certificate), problem) from None
    return context
