"""Asks one gateway above this one, over PCP, NAT-PMP and UPnP IGD (``model.above.GatewayAbove``).

client         ``GatewayAboveClient``: a request in, a checked reply out; keeps the links
links          the protocols from one of our addresses, in order; answering: which of them are served
port5351_link  PCP and NAT-PMP; pcp, natpmp: their bytes, pure; exchange: the socket, retransmissions
igd_link       UPnP IGD; igd: its actions; search: SSDP; http: bounded requests
announcements  listens on the WAN link; watch: whether the gateway above lost its state
outcome        what a protocol answered, checked; pure
standing       how the gateway above stands; pure
way            the gateway above and our address there; sockets: all of them bound to the WAN interface

What it answers is foreign: typed and bounded here, and no byte of it goes further.
"""

from upnp_gw.upstream.client import GatewayAboveClient

__all__ = ["GatewayAboveClient"]
