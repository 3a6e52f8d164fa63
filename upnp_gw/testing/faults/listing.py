"""Lists of mappings that do not say what the router has, and changes that it only pretends."""

from dataclasses import dataclass

from upnp_gw.protocols.http.head import Head
from upnp_gw.testing.fault import Fault, Router, Strikes
from upnp_gw.testing.faults.octets import with_argument
from upnp_gw.testing.faults.requests import argument
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import Reply

NO_ENTRY = {"GetGenericPortMappingEntry": 713, "GetSpecificPortMappingEntry": 714, "GetListOfPortMappings": 730}


@dataclass(eq=False)
class AcceptedAndForgotten(Fault):
    """The answer is success, and no mapping is made."""

    strikes = Strikes.BEFORE
    actions = frozenset({"AddPortMapping"})

    def reply(self, request: Request) -> Reply:
        return {}


@dataclass(eq=False)
class StaysAfterDelete(Fault):
    """A delete is answered with success, and the mapping stays until its lease ends."""

    strikes = Strikes.BEFORE
    actions = frozenset({"DeletePortMapping", "DeletePortMappingRange"})

    def reply(self, request: Request) -> Reply:
        return {}


@dataclass(eq=False)
class NotListed(Fault):
    """Mappings are in no list, and cannot be read: 713, 714 or 730."""

    strikes = Strikes.BEFORE
    actions = frozenset(NO_ENTRY)

    def reply(self, request: Request) -> Reply:
        return NO_ENTRY[request.action]


@dataclass(eq=False)
class RenumberingIndex(Fault):
    """GetGenericPortMappingEntry lists the newest mapping first. So each new mapping renumbers all others, also
    while a client reads the list."""

    strikes = Strikes.BEFORE
    actions = frozenset({"GetGenericPortMappingEntry"})

    def __post_init__(self) -> None:
        self._router: Router | None = None

    async def begin(self, router: Router) -> None:
        self._router = router

    def read_call(self, head: Head, body: bytes, request: Request) -> tuple[Head, bytes]:
        index = argument(request, "NewPortMappingIndex")
        last = self._router.mapping_count() - 1 if self._router is not None else 0
        return head, with_argument(body, "NewPortMappingIndex", last - index) if index <= last else body
