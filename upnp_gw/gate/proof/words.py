"""Witnesses in words, and in plain values."""

from collections.abc import Iterator
from datetime import date

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.proof.answers import DEFAULT_RULE
from upnp_gw.gate.proof.prove import Proof
from upnp_gw.gate.proof.witness import Witness
from upnp_gw.gate.schema import OBSERVE_RULE
from upnp_gw.model.request import PortChoice


def request_text(witness: Witness) -> str:
    """``ps5 (ac:89:95:00:00:01) at 192.168.1.77 asks over igd1 for tcp 443 to 192.168.1.77:8443``."""
    facts, request = witness.facts, witness.request
    parts = [f"{_asker(witness)} at {facts.address} asks over {request.via} for {request.transport}"]
    if request.choice is PortChoice.SUGGESTED:
        parts.append(
            "any external port" if not witness.ext_port else f"external port {witness.ext_port} or another"
        )
    elif not request.pinhole:
        parts.append(f"external port {request.external_port}")
    parts.append(f"to {request.internal}")
    if facts.device != facts.target_device:
        parts.append("of another device")
    elif request.pinhole:
        parts.append("as a pinhole")
    if request.remote is not None or request.remote_port:
        port = f" port {request.remote_port}" if request.remote_port else ""
        parts.append(f"from {request.remote.network_address if request.remote is not None else 'anyone'}{port}")
    if facts.lan != facts.main_lan:
        parts.append(f"on the LAN {facts.lan or '(unknown)'}")
    if facts.dhcp_name is not None:
        parts.append(f"with the lease of {facts.dhcp_name}")
    parts.append(f"at {_time(witness)}")
    return " ".join([*parts, *_quotas(witness)])


def _quotas(witness: Witness) -> Iterator[str]:
    """The earlier mappings that it needs."""
    held = witness.facts.held
    parts = [f"{name} has no room" for name in held.by_grant]
    if witness.facts.int_ports_today:
        parts.append(f"it has had {len(witness.facts.int_ports_today)} other ports today")
    parts += [f"its quota is full but for external port {port}, which it has already" for port in held.on_port]
    parts += [f"the address list {name} is out of date" for name in sorted(witness.facts.stale_sets)]
    if parts:
        yield f"while {' and '.join(parts)}"


def proof_values(proof: Proof) -> dict[str, object]:
    """The witness of a proof for JSON, in words and in values; null where there is none."""
    witness = proof.witness
    return {
        "rule": proof.rule,
        "witness": None if witness is None else request_text(witness),
        "request": None if witness is None else request_values(witness),
        "reasons": None if witness is None else witness.verdict.reasons,
    }


def request_values(witness: Witness) -> dict[str, object]:
    """The request with its facts, for JSON: enough to send it. Names of the API where it has the same values."""
    facts, request = witness.facts, witness.request
    return {
        "via": request.via.value,
        "transport": request.transport.value,
        "kind": "pinhole" if request.pinhole else "port-mapping",
        "external_port": request.internal.port if request.pinhole else witness.ext_port or None,
        "exact": request.choice is PortChoice.EXACT,
        "internal_client": str(request.internal.address),
        "internal_port": request.internal.port,
        "remote_host": None if request.remote is None else str(request.remote.network_address),
        "remote_port": request.remote_port or None,
        "address": str(facts.address),
        "mac": facts.mac,
        "device_name": witness.name if witness.agrees else None,
        "own": facts.device == facts.target_device,
        "lan": facts.lan or None,
        "first_lan": facts.lan == facts.main_lan,
        "dhcp_name": facts.dhcp_name,
        "lease_agrees": facts.lease_agrees,
        "date": date.fromordinal(facts.today).isoformat(),
        "time": _time(witness),
        "without_room": sorted(facts.held.by_grant),
    }


def _time(witness: Witness) -> str:
    return f"{witness.facts.minute_of_day // 60:02}:{witness.facts.minute_of_day % 60:02}"


def _asker(witness: Witness) -> str:
    mac, name = witness.facts.mac, witness.name
    if mac is None:
        return "a host without a known MAC address"
    if name is None:
        return f"an unnamed device ({mac})"
    return f"{name} ({mac})" if witness.agrees else f"a host with the MAC address of {name} ({mac})"


def answer_text(witness: Witness, rule: str | None) -> str:
    """``allowed by grant console-games``."""
    word = {Outcome.ALLOW: "allowed", Outcome.ASK: "asked about", Outcome.DENY: "denied"}[witness.verdict.outcome]
    if rule == DEFAULT_RULE:
        return f'{word} by default = "ask"'
    if rule == OBSERVE_RULE:
        return f'{word} by mode = "observe"'
    if witness.verdict.outcome is Outcome.DENY:
        return f"{word}: {witness.verdict.reasons[-1]}"
    return f"{word} by grant {rule}"
