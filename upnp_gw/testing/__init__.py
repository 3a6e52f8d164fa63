"""A router for tests of clients: the gateway itself, in process, without root. docs/testing.md shows how to use it.

emulator          ``Emulator``: starts it in a thread; what a test reads and changes
gateway           the gateway over a memory firewall, on one loopback address
clock             time that a test moves forward
answers           answers that a test asks for
fault_option      faults as text
wire_faults       broken answers, and answers of another shape
journal           the requests that came in
events            the events that were sent
mappings          port mappings and pinholes
records           lists that say what they hold where a test fails
http_connection, datagram_sockets
"""

from upnp_gw.testing.answers import AnswerRule
from upnp_gw.testing.emulator import Emulator
from upnp_gw.testing.events import SentEvent
from upnp_gw.testing.journal import Request, Requests
from upnp_gw.testing.mappings import HeldMapping
from upnp_gw.testing.records import Records

__all__ = ["AnswerRule", "Emulator", "HeldMapping", "Records", "Request", "Requests", "SentEvent"]
