"""Sans-I/O codecs: bytes <-> typed messages <-> requests and replies of ``model.request``.

No module here imports asyncio, socket, subprocess, time or random. Any bytes give a message or a ``WireError``.

http, igd, gena, ssdp, natpmp, pcp
igd_services  the services of both versions of IGD
port5351      NAT-PMP and PCP on one port; mode: how they are served; pending: a request that waits for its reply
peer          the other end of a datagram
rate_limit    token buckets
retransmit    times of repeated announcements
client_times  times of a client: retransmissions, renewals; epoch_watch: whether a gateway has lost its state
xml           text for XML documents
"""
