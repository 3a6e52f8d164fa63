"""The client side: a host asks its gateway for a port over PCP, NAT-PMP or UPnP IGD, keeps it, and lets it go.

wish       what is asked for and what came of it; pure
schedule   retransmissions and renewals (RFC 6886, RFC 6887); pure
epoch      whether the gateway lost its state; pure
pcp        PCP dialogue: datagrams in, datagrams out; pure
natpmp     NAT-PMP dialogue, likewise
datagram   the socket under both dialogues, and the ear for announcements
igd        UPnP IGD by async-upnp-client
route      which gateway, and from which of our addresses
secret     what the nonces are made of
ask        tries the protocols in order
hold       keeps a port for as long as it runs
listening  what this host listens on

It imports nothing of the daemon: any gateway will do, ours or another.
"""
