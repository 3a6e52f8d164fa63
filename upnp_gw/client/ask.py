"""Asks for a port over each protocol in turn, until one has an answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from upnp_gw.client.datagram import DatagramLink
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.natpmp import NatPmpDialogue
from upnp_gw.client.options import ClientLink, ClientOptions
from upnp_gw.client.pcp import PcpDialogue
from upnp_gw.client.route import find_way
from upnp_gw.model.mapping import IPAddress, Via


@asynccontextmanager
async def link(options: ClientOptions, via: Via, version: int) -> AsyncIterator[ClientLink]:
    """A link over this protocol. Raises Silent where there is no way to a gateway or it cannot be found."""
    if via.protocol == Via.IGD2.protocol:
        from upnp_gw.client.igd import igd_link

        async with igd_link(find_way(4, options.gateway, _four(options.source)), options, version) as igd:
            yield igd
        return
    if via is Via.NATPMP and version == 6:
        raise NoAnswer("NAT-PMP knows no IPv6")
    way = find_way(version, options.gateway, options.source)
    dialogue = PcpDialogue(way.source, options.nonce) if via is Via.PCP else NatPmpDialogue(way.source)
    async with DatagramLink(way, dialogue) as made:
        yield made


@asynccontextmanager
async def first_answer(
    options: ClientOptions, requested: RequestedMapping
) -> AsyncIterator[tuple[ClientLink, MappingLease]]:
    """The first protocol with an answer that is no refusal, its link still open, and what was got.

    A refusal of one protocol does not keep the next from being asked: gateways switch them off one by one.
    Raises Refused, the first one, where any was refused; else Silent.
    """
    refused: RequestRefused | None = None
    silent: list[str] = []
    for via in options.vias:
        try:
            async with link(options, via, requested.version) as made:
                try:
                    got = await made.ask(requested, None, options.patience_s)
                except (RequestRefused, NoAnswer) as no:
                    refused = refused or (no if isinstance(no, RequestRefused) else None)
                    silent.append(f"{via.protocol}: {no}")
                    continue
                yield made, got
                return
        except NoAnswer as no:
            silent.append(f"{via.protocol}: {no}")
    raise refused or NoAnswer("; ".join(silent))


async def let_go(options: ClientOptions, requested: RequestedMapping) -> list[MappingLease]:
    """Ends the wish over every protocol that has an answer: each holds its own lease on a port, and says yes to
    the end of one that it never had. Raises as ``first_answer`` does where none said yes."""
    gone: list[MappingLease] = []
    refused: RequestRefused | None = None
    silent: list[str] = []
    for via in options.vias:
        try:
            async with link(options, via, requested.version) as made:
                gone.append(await made.release(requested, None, options.patience_s))
        except RequestRefused as no:
            refused = refused or no
        except NoAnswer as no:
            silent.append(f"{via.protocol}: {no}")
    if gone:
        return gone
    raise refused or NoAnswer("; ".join(silent))


def _four(source: IPAddress | None) -> IPAddress | None:
    """IGD is found and asked over IPv4, for pinholes too: the gateway knows a host by its MAC address."""
    return source if source is not None and source.version == 4 else None
