"""Debug lines of a request: request, facts, verdict, changes of the kernel, reply. Made only at log level debug.

No line has a nonce or another secret. Text of a client is escaped.
"""

import logging
from collections.abc import Sequence

from upnp_gw.firewall.base import Change, Close, Open
from upnp_gw.gate.decision import Facts, Verdict
from upnp_gw.model.request import (
    ChangeRequest,
    Granted,
    MapRequest,
    Refused,
    ReleaseRequest,
    Reply,
    UnmapPortRequest,
    UnmapRangeRequest,
)
from upnp_gw.text.escape import shown

log = logging.getLogger(__name__)

FLAGS = {
    "frozen": "device is frozen",
    "quarantined": "device is in quarantine",
    "restoring": "gateway restores its mappings",
    "renewing": "gateway renews the lease",
    "standing": "mapping exists already",
}
"""Flag of the facts -> its words in a debug line."""


def log_request(request: ChangeRequest) -> None:
    if log.isEnabledFor(logging.DEBUG):
        source = request.source
        sender = f"{source.address} on {source.interface}" if source.interface else "the control socket"
        log.debug("request from %s: %s", sender, request_line(request))


def log_decision(request: MapRequest, facts: Facts, verdict: Verdict) -> None:
    """The facts that the gate was given, and its whole trace."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("facts for %s: %s", request_line(request), facts_line(facts))
        log.debug("verdict %s by %s: %s", verdict.outcome, verdict.rule or "no rule", "; ".join(verdict.reasons))


def log_kernel_changes(changes: Sequence[Change]) -> None:
    if log.isEnabledFor(logging.DEBUG):
        for change in changes:
            log.debug("kernel: %s", change_line(change))


def log_reply(request: ChangeRequest, reply: Reply) -> None:
    if log.isEnabledFor(logging.DEBUG):
        log.debug("reply to %s: %s", request.source.address, reply_line(reply))


def request_line(request: ChangeRequest) -> str:
    """``pcp map udp 3074 -> 192.168.1.23:3074 for 3600 s``."""
    match request:
        case MapRequest():
            lifetime = "as long as possible" if request.lifetime_s is None else f"{request.lifetime_s} s"
            line = (
                f"{request.via} map {request.transport} {request.external_port or 'any port'} ({request.choice})"
                f" -> {request.internal} for {lifetime}"
            )
            remotes = [request.remote] if request.remote else [peers.network for peers in request.filters]
            line += f", remote hosts {' '.join(map(str, remotes))}" if remotes else ""
            line += ", disabled" if not request.enabled else ""
            return line + (f", description '{shown(request.description)}'" if request.description else "")
        case UnmapPortRequest():
            return f"{request.via} delete port {request.port} over TCP and UDP"
        case UnmapRangeRequest():
            return f"{request.via} delete {request.transport} {request.start}-{request.end}"
        case ReleaseRequest():
            endpoint = f"{request.address} port {request.port or 'any'}"
            return f"{request.via} delete {request.transport} of {endpoint}"
    if request.key is None:
        return f"{request.via} delete {shown(request.mapping_id or '?')}"
    return f"{request.via} delete {request.key.transport} {request.key.external_port}"


def facts_line(facts: Facts) -> str:
    parts = [f"device {facts.device}"]
    if facts.dhcp_name:
        parts.append(f"DHCP name '{shown(facts.dhcp_name)}'")
    if facts.target_device != facts.device:
        parts.append(f"internal client is {facts.target_device}")
    parts.append(f"mappings of the device: {facts.held.by_device} of {facts.held.total}")
    parts.append(f"requests in the last minute: {facts.changes_last_minute}")
    parts.append(f"different ports today: {len(facts.int_ports_today)}")
    return ", ".join([*parts, *(words for flag, words in FLAGS.items() if getattr(facts, flag))])


def change_line(change: Change) -> str:
    """``open m3 tcp 8080 -> 192.168.1.23:80 for 3660 s (d17)``."""
    if not isinstance(change, Open | Close):
        return type(change).__name__.lower()
    forward = change.forward
    line = f"{forward.id} {forward.transport} {forward.external_port} -> {forward.internal}"
    if isinstance(change, Close):
        return f"close {line}"
    remote = f" from {forward.remote}" if forward.remote is not None else ""
    return f"open {line}{remote} for {forward.timeout_s:.0f} s ({forward.decision})"


def reply_line(reply: Reply) -> str:
    match reply:
        case Granted(mapping, lifetime_s, external_address, refreshed):
            verb = "refreshed" if refreshed else "granted"
            where = f"{mapping.key.transport} {external_address or 'no address'} port {mapping.key.external_port}"
            return f"{verb} {mapping.id}: {where} -> {mapping.internal} for {lifetime_s} s ({mapping.decision})"
        case Refused():
            decision = f" ({reply.decision})" if reply.decision else ""
            return f"refused, {reply.refusal}: {reply.reason}{decision}"
    return f"deleted {' '.join(mapping.id for mapping in reply.mappings)}"
