"""The routes. The server and docs/emulate-api.json are made from them."""

from collections.abc import Mapping

from upnp_gw.api import Route
from upnp_gw.testing.announcements import Announcement
from upnp_gw.testing.api.bodies import (
    Advance,
    AnnouncementFilter,
    Catalogue,
    EventFilter,
    Fault,
    MappingFilter,
    Personality,
    PutAnswer,
    PutFault,
    Reboot,
    RequestFilter,
    Reset,
    State,
    SubscriberFilter,
    Time,
    Wan,
)
from upnp_gw.testing.events import SentEvent
from upnp_gw.testing.journal import Request
from upnp_gw.testing.mappings import HeldMapping
from upnp_gw.testing.subscribers import Subscriber

ROUTES: Mapping[str, Route] = {
    "state": Route("GET", "/v1/state", "Show the router: its URLs, ports and numbers", State),
    "mappings": Route("GET", "/v1/mappings", "List port mappings", list[HeldMapping], query=MappingFilter),
    "pinholes": Route("GET", "/v1/pinholes", "List pinholes", list[HeldMapping], query=MappingFilter),
    "requests": Route(
        "GET",
        "/v1/requests",
        "List the requests so far, with their bytes in base64",
        list[Request],
        query=RequestFilter,
    ),
    "events": Route("GET", "/v1/events", "List the events sent to subscribers", list[SentEvent], query=EventFilter),
    "subscribers": Route(
        "GET", "/v1/subscribers", "List the event subscriptions", list[Subscriber], query=SubscriberFilter
    ),
    "announcements": Route(
        "GET",
        "/v1/announcements",
        "List the SSDP announcements; without multicast there are none",
        list[Announcement],
        query=AnnouncementFilter,
    ),
    "catalogue": Route("GET", "/v1/catalogue", "List every fault and personality that there is", Catalogue),
    "faults": Route("GET", "/v1/faults", "List the faults in force, oldest first", list[Fault]),
    "put_fault": Route("POST", "/v1/faults", "Put a fault in force", Fault, body=PutFault),
    "put_answer": Route("POST", "/v1/answers", "Answer an action in place of the gateway", Fault, body=PutAnswer),
    "fault": Route("GET", "/v1/faults/{id}", "Show a fault, also one that has ended", Fault),
    "take_back": Route("DELETE", "/v1/faults/{id}", "Take a fault or an answer back; returns it", Fault),
    "take_all_back": Route("DELETE", "/v1/faults", "Take back every fault and answer; returns them", list[Fault]),
    "personality": Route("PUT", "/v1/personality", "Make it another kind of router", State, body=Personality),
    "time": Route("GET", "/v1/time", "Show its clock", Time),
    "advance": Route(
        "POST", "/v1/time/advance", "Move its clock; what falls due has happened then", Time, body=Advance
    ),
    "wan": Route("POST", "/v1/wan", "Change the external address, or the link to the internet", State, body=Wan),
    "reboot": Route("POST", "/v1/reboot", "Stop it and start it again", State, body=Reboot),
    "reset": Route("POST", "/v1/reset", "Forget requests, events and faults, or all", State, body=Reset),
    "stop": Route("POST", "/v1/stop", "End the process, after this answer", State),
}
"""Operation -> its route. The server calls the method of this name of ``operations.Operations``."""
