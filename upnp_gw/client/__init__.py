"""The client side: a host requests a port from its gateway over PCP, NAT-PMP or UPnP IGD, keeps it and releases it.

mapping_request  a requested mapping and the lease that came of it; pure
options    protocols, gateway and timeout of a request
pcp        builds and parses the datagrams of PCP; pure
natpmp     the same for NAT-PMP; pure
datagram   the sockets of both: requests, retransmissions, announcements
igd        UPnP IGD, by async-upnp-client
route      the gateway and the address of this host towards it
secret     the secret that PCP nonces are made of
ask        requests and releases a mapping over each protocol in turn
hold       keeps a lease: renews it, requests it again
listening  the listening ports of this host

Works with any gateway. Does not import the daemon, and the daemon does not import it.
"""
