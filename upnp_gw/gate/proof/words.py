"""Witnesses in words."""

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.proof.answers import DEFAULT_RULE
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
    parts.append(f"at {facts.minute_of_day // 60:02}:{facts.minute_of_day % 60:02}")
    return " ".join(parts)


def _asker(witness: Witness) -> str:
    mac = witness.facts.mac
    if mac is None:
        return "a host without a known MAC address"
    return f"{witness.name} ({mac})" if witness.name is not None else f"an unnamed device ({mac})"


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
