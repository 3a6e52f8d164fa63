"""A lab of network namespaces: internet - gateway - LAN hosts, for the demo and the tests.

Here live the namespaces, the hosts in them and the proofs by a packet; nothing of the gateway itself, and nothing
that the daemon imports. Synchronous. Nothing outside the namespaces is changed.

    from upnp_gw.lab import Lab, Topology, acquire
    acquire()                                   # once, early: root, or enters a user namespace; LabUnavailable
    with Lab(Topology()) as lab:
        console, peer = lab.hosts["console"], lab.hosts["peer1"]
        with EchoServer(console, Transport.TCP, 3074) as server:
            proof = reach(peer, Transport.TCP, lab.external[0], 3074)
        assert proof.arrived and proof.answered_by == "console" and proof.seen_from == peer.address
"""

from upnp_gw.lab.host import Host
from upnp_gw.lab.lab import Lab
from upnp_gw.lab.privilege import LabUnavailable, acquire
from upnp_gw.lab.topology import CONSOLE, GUEST, HOME, PC, Lan, LanHost, Topology

__all__ = [
    "CONSOLE",
    "GUEST",
    "HOME",
    "PC",
    "Host",
    "Lab",
    "LabUnavailable",
    "Lan",
    "LanHost",
    "Topology",
    "acquire",
]
