"""Requests and releases a mapping over each protocol in turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from upnp_gw.client.datagram import DatagramLink
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.natpmp import NatPmpDialogue
from upnp_gw.client.options import ClientLink, ClientOptions
from upnp_gw.client.pcp import PcpDialogue
from upnp_gw.client.route import find_route
from upnp_gw.model.mapping import IPAddress, Via


@asynccontextmanager
async def open_link(options: ClientOptions, via: Via, version: int) -> AsyncIterator[ClientLink]:
    """A link over this protocol and IP version. Raises NoAnswer if no gateway is found."""
    if via.protocol == Via.IGD2.protocol:
        from upnp_gw.client.igd import open_igd

        async with open_igd(find_route(4, options.gateway, _ipv4(options.source)), options, version) as igd:
            yield igd
        return
    if via is Via.NATPMP and version == 6:
        raise NoAnswer("NAT-PMP does not support IPv6")
    route = find_route(version, options.gateway, options.source)
    dialogue = PcpDialogue(route.source, options.nonce) if via is Via.PCP else NatPmpDialogue(route.source)
    async with DatagramLink(route, dialogue) as link:
        yield link


@asynccontextmanager
async def request_mapping(
    options: ClientOptions, request: RequestedMapping
) -> AsyncIterator[tuple[ClientLink, MappingLease]]:
    """The lease, and the open link of the protocol that granted it.

    After a refusal the next protocol is tried, because a gateway may have switched one of them off. If none grants
    it, raises the first RequestRefused, or NoAnswer if no protocol answered.
    """
    refusal: RequestRefused | None = None
    failures: list[str] = []
    for via in options.vias:
        try:
            async with open_link(options, via, request.version) as link:
                try:
                    lease = await link.ask(request, None, options.timeout_s)
                except (RequestRefused, NoAnswer) as error:
                    refusal = refusal or (error if isinstance(error, RequestRefused) else None)
                    failures.append(f"{via.protocol}: {error}")
                    continue
                yield link, lease
                return
        except NoAnswer as error:
            failures.append(f"{via.protocol}: {error}")
    raise refusal or NoAnswer("; ".join(failures))


async def release_mapping(options: ClientOptions, request: RequestedMapping) -> list[MappingLease]:
    """Releases the mapping over every protocol that answers: each has a lease of its own on a port, and confirms
    the release of one that it never had. If none confirms it, raises as ``request_mapping``."""
    released: list[MappingLease] = []
    refusal: RequestRefused | None = None
    failures: list[str] = []
    for via in options.vias:
        try:
            async with open_link(options, via, request.version) as link:
                released.append(await link.release(request, None, options.timeout_s))
        except RequestRefused as error:
            refusal = refusal or error
        except NoAnswer as error:
            failures.append(f"{via.protocol}: {error}")
    if released:
        return released
    raise refusal or NoAnswer("; ".join(failures))


def _ipv4(source: IPAddress | None) -> IPAddress | None:
    """IGD uses IPv4, for pinholes too: the gateway knows a host by its MAC address."""
    return source if source is not None and source.version == 4 else None
