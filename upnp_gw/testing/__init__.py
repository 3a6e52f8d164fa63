"""A router for tests of clients: the gateway itself, in process, without root. docs/testing.md shows how to use it.

emulator          ``Emulator``: what a test reads and changes
addresses         its addresses and URLs
host              its event loop: a thread's, or that of an asynchronous test
gateway           the gateway over a memory firewall, on one loopback address
options           what a test can choose before
place             its address; ports: its UDP sockets
clock             time that a test moves forward
fault             what a fault is: its seam, the moment it strikes
faults            every fault; registry has their names, and builds them
rules             the faults in force; fault_in_force: what the test has of one
fault_control     puts them in force and takes them back
firewall_seam     the firewall, with faults between it and the gateway
outcomes          actions and their errors, by code and name
fault_option      faults as text
personality       what a kind of router is: options and faults
router_kinds      every one; personalities has their names
catalogue         faults and personalities as a page
journal           the requests that came in
events            the events that were sent; subscribers: their readers
announcements     those of SSDP
mappings          port mappings and pinholes
records           lists that say what they hold where a test fails
changes           waiting for what comes
api               the emulator as a process, with an API over HTTP
http_connection, datagram_sockets
plain_sockets     sockets as every system has them
"""

from upnp_gw.testing.announcements import Announcement
from upnp_gw.testing.changes import LiveRecords
from upnp_gw.testing.emulator import Emulator
from upnp_gw.testing.events import SentEvent
from upnp_gw.testing.fault_in_force import FaultInForce
from upnp_gw.testing.host import Done
from upnp_gw.testing.journal import Request, Requests
from upnp_gw.testing.mappings import HeldMapping
from upnp_gw.testing.records import Records
from upnp_gw.testing.subscribers import Subscriber

__all__ = [
    "Announcement",
    "Done",
    "Emulator",
    "FaultInForce",
    "HeldMapping",
    "LiveRecords",
    "Records",
    "Request",
    "Requests",
    "SentEvent",
    "Subscriber",
]
