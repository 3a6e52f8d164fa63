"""``upnp-gw demo``: a home in namespaces, the real daemon on real nftables, and each claim proved by a packet.

``play`` runs the demo, ``steps`` has its steps, ``office`` the one without NAT, ``stage`` the lab that they use,
``report`` their results. If no namespace can be made, ``rehearsal`` runs requests on the memory backend: it shows
decisions, and proves nothing about packets.
"""
