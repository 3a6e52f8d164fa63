"""``upnp-gw demo``: a home in namespaces, the real daemon on real nftables, and each claim proved by a packet.

``stage`` is what the steps act on, ``steps`` what is shown in which order, ``report`` how it is told. Where no
namespace can be made, ``rehearsal`` takes the path of a request on the memory backend: it shows the decisions, and
proves nothing about packets.
"""
