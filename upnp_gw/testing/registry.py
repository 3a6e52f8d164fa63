"""Every fault by its name, with the words that help, API and documentation need. Loaded when a fault is used."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args, get_type_hints

from upnp_gw.testing.fault import Fault, Strikes
from upnp_gw.testing.faults import (
    answers,
    descriptions,
    events,
    firewalls,
    http_shapes,
    listing,
    policies,
    port5351,
    ppp_connection,
    reboots,
    refusals,
    requests,
    ssdp,
    wan,
)
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import REQUESTS, Reply, check_action, outcome_of
from upnp_gw.testing.rules import Rule

FAULTS: dict[str, type[Fault]] = {
    "error": answers.ErrorAnswer,
    "slow": answers.Slow,
    "silent": http_shapes.Silent,
    "reset": http_shapes.Reset,
    "reset-in-body": http_shapes.ResetInBody,
    "truncated-body": http_shapes.TruncatedBody,
    "short-content-length": http_shapes.ShortContentLength,
    "long-content-length": http_shapes.LongContentLength,
    "no-content-length": http_shapes.NoContentLength,
    "bare-500": http_shapes.Bare500,
    "not-xml": http_shapes.NotXml,
    "wrong-content-type": http_shapes.WrongContentType,
    "chunked": http_shapes.Chunked,
    "byte-order-mark": http_shapes.ByteOrderMark,
    "other-prefixes": http_shapes.OtherPrefixes,
    "default-namespaces": http_shapes.DefaultNamespaces,
    "other-service-version": http_shapes.OtherServiceVersion,
    "nul-terminated": http_shapes.NulTerminated,
    "capital-fault-elements": http_shapes.CapitalFaultElements,
    "other-error-code": http_shapes.OtherErrorCode,
    "missing-scpd": http_shapes.MissingScpd,
    "scpd-without-namespace": http_shapes.ScpdWithoutNamespace,
    "spaces-in-urls": descriptions.SpacesInUrls,
    "spaces-around-urls": descriptions.SpacesAroundUrls,
    "url-base": descriptions.UrlBase,
    "url-base-without-port": descriptions.UrlBaseWithoutPort,
    "upper-case-udn": descriptions.UpperCaseUdn,
    "second-connection-down": descriptions.SecondConnectionDown,
    "server-field": descriptions.ServerField,
    "ppp-connection": ppp_connection.PppConnection,
    "answered-twice": ssdp.AnsweredTwice,
    "wrong-location": ssdp.WrongLocation,
    "location-in-other-subnet": ssdp.LocationInOtherSubnet,
    "location-of-version-2": ssdp.LocationOfVersion2,
    "other-udn-in-ssdp": ssdp.OtherUdnInSsdp,
    "rootdevice-search-only": ssdp.RootDeviceSearchOnly,
    "byebye": ssdp.ByeBye,
    "shorter-lease": requests.ShorterLease,
    "fixed-lease": requests.FixedLease,
    "other-external-port": requests.OtherExternalPort,
    "random-external-port": requests.RandomExternalPort,
    "internal-port-becomes-external": requests.InternalPortBecomesExternal,
    "only-permanent-leases": refusals.OnlyPermanentLeases,
    "no-permanent-leases": refusals.NoPermanentLeases,
    "same-ports-only": refusals.SamePortsOnly,
    "wildcard-remote-host-only": refusals.WildcardRemoteHostOnly,
    "wildcard-external-port-only": refusals.WildcardExternalPortOnly,
    "port-zero-refused": refusals.PortZeroRefused,
    "renewal-is-conflict": refusals.RenewalIsConflict,
    "full-table": refusals.FullTable,
    "silent-full-table": refusals.SilentFullTable,
    "accepted-and-forgotten": listing.AcceptedAndForgotten,
    "stays-after-delete": listing.StaysAfterDelete,
    "not-listed": listing.NotListed,
    "renumbering-index": listing.RenumberingIndex,
    "wrong-nonce": port5351.WrongNonce,
    "forgotten-nonce": port5351.ForgottenNonce,
    "epoch-backwards": port5351.EpochBackwards,
    "epoch-ahead": port5351.EpochAhead,
    "pcp-version-1-only": port5351.PcpVersion1Only,
    "natpmp-with-pcp-version": port5351.NatPmpWithPcpVersion,
    "natpmp-ports-truncated": port5351.NatPmpPortsTruncated,
    "event-lost": events.EventLost,
    "event-twice": events.EventTwice,
    "events-out-of-order": events.EventsOutOfOrder,
    "stale-event": events.StaleEvent,
    "same-seq": events.SameSeq,
    "policy": policies.Policy,
    "without-limits": policies.WithoutLimits,
    "deny-all": policies.DenyAll,
    "only-external-ports": policies.OnlyExternalPorts,
    "mappings-gone": policies.MappingsGone,
    "pinholes-gone": policies.PinholesGone,
    "not-forwarding": firewalls.NotForwarding,
    "slot-table": firewalls.SlotTable,
    "firewall-fails": firewalls.FirewallFails,
    "ipv6-firewall-disabled": firewalls.Ipv6FirewallDisabled,
    "pinholes-not-allowed": firewalls.PinholesNotAllowed,
    "reboot": reboots.Reboot,
    "wan-down": wan.WanDown,
    "external-address": wan.ExternalAddress,
    "private-external-address": wan.PrivateExternalAddress,
    "shared-external-address": wan.SharedExternalAddress,
    "no-external-address": wan.NoExternalAddress,
    "unspecified-external-address": wan.UnspecifiedExternalAddress,
}
"""By the name that ``Emulator.fault`` takes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a fault."""

    name: str
    kind: str
    """``int``, ``float``, ``str``, ``bool``, or two of them: ``int | str``."""
    default: str
    """As text; empty: there is none, it must be given."""
    description: str

    @property
    def required(self) -> bool:
        return not self.default


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """A fault as the documentation, the help and the API show it."""

    name: str
    description: str
    seam: str
    strikes: str
    actions: tuple[str, ...]
    """The requests that it can strike; empty: it is in force for all of them."""
    parameters: tuple[Parameter, ...]


def entries() -> tuple[FaultEntry, ...]:
    """The whole catalogue, in its order."""
    return tuple(
        FaultEntry(
            name,
            description_of(fault),
            fault.seam.value,
            fault.strikes.value,
            tuple(sorted(fault.actions)),
            tuple(_parameters(fault)),
        )
        for name, fault in FAULTS.items()
    )


def description_of(documented: type) -> str:
    """The docstring in one line."""
    return " ".join(inspect.cleandoc(documented.__doc__ or "").split())


def make_rule(
    name: str,
    action: str | None = None,
    *,
    times: int | None = None,
    after: bool | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Rule:
    """A fault of the catalogue, ready to be put in force. Values of ``parameters`` may be text. Raises ValueError
    for an unknown word and a wrong value; it says what is accepted."""
    if name not in FAULTS:
        known = get_close_matches(name, FAULTS, 1)
        meant = "".join(f"; did you mean {k!r}?" for k in known) or f"; accepted: {', '.join(FAULTS)}"
        raise ValueError(f"there is no fault {name!r}{meant}")
    kind = FAULTS[name]
    _check_strike(name, kind, action, times, after)
    fault = _made(name, kind, parameters or {})
    if action is not None:
        fault.check(action)
    return Rule((fault,), action, times, after, name)


def answer_rule(
    action: str,
    reply: Callable[[Request], Reply] | Reply,
    *,
    times: int | None = None,
    after: bool | None = None,
    wire: str | None = None,
    delay_s: float = 0,
) -> Rule:
    """As ``Emulator.answer`` describes it. Raises ValueError."""
    check_action(action, REQUESTS)
    if times is not None and times < 1:
        raise ValueError("times must be 1 or more")
    faults: list[Fault] = []
    if callable(reply):
        faults.append(answers.GivenAnswer(reply))
    elif reply is not None:
        outcome_of(action, reply)  # a mistake is found now, not at the request
        faults.append(answers.GivenAnswer(lambda request: reply))
    if wire is not None:
        shaped = [name for name, kind in FAULTS.items() if action in kind.actions and not fields_of(kind)]
        if wire not in shaped:
            raise ValueError(f"there is no wire fault {wire!r} for {action}; accepted: {', '.join(shaped)}")
        faults.append(FAULTS[wire]())
    if delay_s:
        faults.append(answers.Slow(delay_s))
    return Rule(tuple(faults), action, times, after, "answer")


def _check_strike(name: str, kind: type[Fault], action: str | None, times: int | None, after: bool | None) -> None:
    if action is not None:
        check_action(action, REQUESTS | kind.actions)
        if action not in kind.actions:
            accepted = ", ".join(sorted(kind.actions)) or "no action, the fault is for all requests"
            raise ValueError(f"the fault {name!r} does not strike {action}; accepted: {accepted}")
    if times is not None and (times < 1 or not kind.actions):
        raise ValueError("times must be 1 or more" if times < 1 else f"the fault {name!r} has no times")
    if after is not None and kind.strikes not in (Strikes.EITHER, Strikes.AFTER_OR_BEFORE):
        raise ValueError(f"the fault {name!r} strikes {kind.strikes.value}; after cannot be chosen")


def _made(name: str, kind: type[Fault], given: Mapping[str, Any]) -> Fault:
    known = {parameter.name: parameter for parameter in _parameters(kind)}
    for each in given:
        if each not in known:
            raise ValueError(f"the fault {name!r} has no {each!r}; accepted: {', '.join(known) or 'nothing'}")
    for each, parameter in known.items():
        if parameter.required and each not in given:
            raise ValueError(f"the fault {name!r} needs {each}: {parameter.description}")
    return kind(**{each: _value(name, known[each], value) for each, value in given.items()})


def _value(name: str, parameter: Parameter, given: Any) -> int | float | str | bool:
    """The value in the type of the parameter. Raises ValueError."""
    kinds = parameter.kind.split(" | ")
    text = str(given)
    if "bool" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "int" in kinds and text.lstrip("-").isdecimal():
        return int(text)
    if "float" in kinds:
        try:
            return float(text)
        except ValueError:
            pass
    if "str" in kinds:
        return text
    raise ValueError(f"{parameter.name} of the fault {name!r} is {given!r}; accepted: {parameter.kind}")


def _parameters(kind: type[Fault]) -> Iterable[Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for each in fields_of(kind):
        annotated = hints[each.name]
        of, description = get_args(annotated)
        shown = " | ".join(t.__name__ for t in get_args(of)) if isinstance(of, UnionType) else of.__name__
        default = "" if each.default is MISSING else repr(each.default)
        yield Parameter(each.name, shown, default, description)


def fields_of(kind: type[Fault]) -> tuple[Field[Any], ...]:
    """The parameters of a fault."""
    return fields(kind)  # type: ignore[arg-type]  # every fault of the catalogue is a dataclass
