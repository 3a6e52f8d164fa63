"""The actions that a client can ask for, and the errors of each by code and name."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from upnp_gw.protocols.igd.faults import NAMES
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.natpmp.codec import NatPmpResult
from upnp_gw.protocols.pcp.messages import ResultCode

ERRORS = NAMES | {
    725: "OnlyPermanentLeasesSupported",
    726: "RemoteHostOnlySupportsWildcard",
    727: "ExternalPortOnlySupportsWildcard",
}
"""UPnP error code -> errorDescription: those of the gateway, and those of other gateways (WANIPConnection:1 section
2.4.16)."""
SOAP = frozenset(action for rows in ROWS.values() for action in rows.actions)
DOCUMENTS = frozenset({"GET"})
EVENTING = frozenset({"SUBSCRIBE", "UNSUBSCRIBE"})
HTTP = SOAP | DOCUMENTS | EVENTING
NATPMP = frozenset({"natpmp.address", "natpmp.map"})
PCP = frozenset({"pcp.map", "pcp.announce"})
SSDP = frozenset({"M-SEARCH"})
NOTIFY = frozenset({"NOTIFY"})
"""An event to one subscriber."""
DATAGRAMS = NATPMP | PCP | SSDP
REQUESTS = HTTP | DATAGRAMS
RESULTS: Mapping[str, Iterable[NatPmpResult] | Iterable[ResultCode]] = {
    **dict.fromkeys(NATPMP, NatPmpResult),
    **dict.fromkeys(PCP, ResultCode),
    **dict.fromkeys(SSDP, ()),
}
"""Request over UDP -> its result codes."""

Reply = int | str | Mapping[str, str] | None
"""An error by its code or name; out-arguments of an action by their names; None: the gateway answers itself."""
Outcome = tuple[int | None, Mapping[str, str] | None]
"""The error code, or the out-arguments."""


def check_action(action: str, accepted: Collection[str]) -> None:
    """Raises ValueError for another word; it says which one was meant."""
    if action not in accepted:
        known = get_close_matches(action, accepted, 1)
        raise ValueError(f"there is no action {action!r}" + "".join(f"; did you mean {k!r}?" for k in known))


def outcome_of(action: str, reply: int | str | Mapping[str, str]) -> Outcome:
    """The error code or the out-arguments of a reply. Raises ValueError."""
    if isinstance(reply, int):
        return reply, None
    if isinstance(reply, str):
        return error_code(action, reply), None
    if action not in SOAP:
        raise ValueError(f"the answer to {action} has no out-arguments; accepted: error")
    return None, {name: str(value) for name, value in reply.items()}


def error_code(action: str, name: str) -> int:
    """The code of an error's name, or of its digits. Raises ValueError."""
    if name.isdecimal():
        return int(name)
    if action in DATAGRAMS:
        codes = {result.name: result.value for result in RESULTS[action]}
    else:
        codes = {known: code for code, known in ERRORS.items()} if action in SOAP else {}
    if name not in codes:
        raise ValueError(f"{action} has no error {name!r}; accepted: a code, or {', '.join(codes) or 'none'}")
    return codes[name]


def error_name(action: str, code: int) -> str:
    """The name of an error of this action; empty: it has none."""
    if action in SOAP:
        return ERRORS.get(code, "")
    return next((result.name for result in RESULTS.get(action, ()) if result.value == code), "")
