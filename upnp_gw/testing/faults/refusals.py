"""Requests that this kind of router refuses, by what they ask for. The gateway does not see them."""

from dataclasses import dataclass
from typing import Annotated

from upnp_gw.testing.fault import Fault, Router, Strikes
from upnp_gw.testing.faults.requests import ADDS, UDP_MAPS, argument
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import Reply

ANY_REMOTE = ("", "0.0.0.0", "*")


@dataclass(eq=False)
class RefusedRequest(Fault):
    """It refuses some requests."""

    strikes = Strikes.BEFORE
    actions = ADDS


@dataclass(eq=False)
class RefusedByTable(RefusedRequest):
    """It refuses by what is mapped already."""

    def __post_init__(self) -> None:
        self._router: Router | None = None

    async def begin(self, router: Router) -> None:
        self._router = router

    def mapped(self, request: Request) -> bool:
        """True where the external port is mapped already."""
        transport = request.arguments.get("NewProtocol", "").strip().lower()
        port = argument(request, "NewExternalPort")
        return self._router is not None and self._router.is_mapped(port, transport)

    def full(self, slots: int) -> bool:
        """True where there are so many port mappings."""
        return self._router is not None and self._router.mapping_count() >= slots


@dataclass(eq=False)
class OnlyPermanentLeases(RefusedRequest):
    """A lease other than 0 is refused."""

    code: Annotated[int | str, "the error"] = 725

    def reply(self, request: Request) -> Reply:
        return self.code if argument(request, "NewLeaseDuration") else None


@dataclass(eq=False)
class NoPermanentLeases(RefusedRequest):
    """A lease of 0 is refused."""

    code: Annotated[int | str, "the error"] = 402

    def reply(self, request: Request) -> Reply:
        return None if argument(request, "NewLeaseDuration") else self.code


@dataclass(eq=False)
class SamePortsOnly(RefusedRequest):
    """External and internal port must be the same."""

    code: Annotated[int | str, "the error"] = 724

    def reply(self, request: Request) -> Reply:
        same = argument(request, "NewExternalPort") == argument(request, "NewInternalPort")
        return None if same else self.code


@dataclass(eq=False)
class WildcardRemoteHostOnly(RefusedRequest):
    """A remote host is refused: only mappings for everybody are possible."""

    code: Annotated[int | str, "the error"] = 726

    def reply(self, request: Request) -> Reply:
        return None if request.arguments.get("NewRemoteHost", "").strip() in ANY_REMOTE else self.code


@dataclass(eq=False)
class WildcardExternalPortOnly(RefusedRequest):
    """An external port is refused: only 0 is possible, for all ports."""

    code: Annotated[int | str, "the error"] = 727

    def reply(self, request: Request) -> Reply:
        return self.code if argument(request, "NewExternalPort") else None


@dataclass(eq=False)
class PortZeroRefused(RefusedRequest):
    """External port 0, for any port, is refused: 716, or out of resources over NAT-PMP and PCP."""

    actions = ADDS | UDP_MAPS

    def reply(self, request: Request) -> Reply:
        if request.action in ADDS:
            return None if argument(request, "NewExternalPort") else 716
        if argument(request, "external_port") or not argument(request, "lifetime"):
            return None
        return "OUT_OF_RESOURCES" if request.action == "natpmp.map" else "NO_RESOURCES"


@dataclass(eq=False)
class RenewalIsConflict(RefusedByTable):
    """A mapping that exists cannot be renewed, not even by its own client."""

    actions = frozenset({"AddPortMapping"})

    code: Annotated[int | str, "the error"] = 718

    def reply(self, request: Request) -> Reply:
        return self.code if self.mapped(request) else None


@dataclass(eq=False)
class FullTable(RefusedByTable):
    """There are so many port mappings at most; one more is refused."""

    slots: Annotated[int, "the number of mappings"] = 16
    code: Annotated[int | str, "the error"] = 728

    def reply(self, request: Request) -> Reply:
        return self.code if self.full(self.slots) and not self.mapped(request) else None


@dataclass(eq=False)
class SilentFullTable(RefusedByTable):
    """There are so many port mappings at most; one more is answered with success, and not made."""

    actions = frozenset({"AddPortMapping"})

    slots: Annotated[int, "the number of mappings"] = 32

    def reply(self, request: Request) -> Reply:
        return {} if self.full(self.slots) and not self.mapped(request) else None
