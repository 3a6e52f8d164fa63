"""A lab of network namespaces for the demo and the tests: internet, gateway, LAN hosts, and proofs by packets.

Synchronous. Changes nothing outside the namespaces. The daemon does not import it.

    from upnp_gw.lab import Lab, Topology, acquire
    acquire()                                   # once, early: root, or enters a user namespace; LabUnavailable
    with Lab(Topology()) as lab:
        console, peer = lab.hosts["console"], lab.hosts["peer1"]
        with EchoServer(console, Transport.TCP, 3074) as server:
            proof = reach(peer, Transport.TCP, lab.external[0], 3074)
        assert proof.arrived and proof.answered_by == "console" and proof.seen_from == peer.address

lab            builds and removes namespaces; topology: which ones; addresses: when they are there
host           one namespace; machine: its processes; daemon: the real daemon in it
probe          proofs by packets
control_point  a real control point
control_socket  the daemon's control socket
privilege      the right to make namespaces; enter: runs a command with it
demo           ``upnp-gw demo``
program        ``upnp-gw lab``
"""

from upnp_gw.lab.host import Host
from upnp_gw.lab.lab import Lab
from upnp_gw.lab.privilege import LabUnavailable, acquire
from upnp_gw.lab.topology import CONSOLE, GUEST, HOME, INNER, OFFICE, PC, Lan, LanHost, Router, Topology

__all__ = [
    "CONSOLE",
    "GUEST",
    "HOME",
    "INNER",
    "OFFICE",
    "PC",
    "Host",
    "Lab",
    "LabUnavailable",
    "Lan",
    "LanHost",
    "Router",
    "Topology",
    "acquire",
]
