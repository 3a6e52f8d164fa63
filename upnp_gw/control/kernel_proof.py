"""The operation ``prove_kernel``: reads the kernel and the ledger, changes nothing."""

from ipaddress import IPv4Address, IPv6Address
from time import perf_counter

from upnp_gw import api
from upnp_gw.control.on_demand import DaemonParts
from upnp_gw.engine.kernel_proof import Answer, KernelProver
from upnp_gw.firewall.openings.findings import Finding, Packet
from upnp_gw.firewall.openings.sentences import sentence
from upnp_gw.model.errors import FirewallError


class KernelProofCommands:
    """Proves, or names a packet that gets through."""

    def __init__(self, parts: DaemonParts) -> None:
        self._prover = KernelProver(parts.gateway, parts.decider, parts.kernel)

    async def prove_kernel(self) -> api.KernelProof | api.Problem:
        """The proof for this moment."""
        began = perf_counter()
        try:
            answer = await self._prover.prove()
        except FirewallError as error:
            return api.Problem(error="backend-failed", message=str(error))
        return to_api(answer, perf_counter() - began)


def to_api(answer: Answer, seconds: float) -> api.KernelProof:
    """The proof as a body of the API."""
    proof = answer.proof
    return api.KernelProof(
        verdict=proof.verdict.value,
        findings=[_finding(finding) for finding in proof.findings],
        mappings=len(answer.active),
        shut=[one for one in answer.active if one not in proof.open_mappings],
        flows=proof.flows,
        seconds=round(seconds, 3),
    )


def _finding(finding: Finding) -> api.KernelFinding:
    return api.KernelFinding(
        fault=finding.fault.value,
        sentence=sentence(finding),
        packet=None if finding.packet is None else _packet(finding.packet),
        rules=list(finding.rules),
        mapping=finding.mapping or None,
    )


def _packet(packet: Packet) -> api.LetThrough:
    address = IPv4Address if packet.version == 4 else IPv6Address
    return api.LetThrough(
        protocol={6: "tcp", 17: "udp"}.get(packet.protocol, str(packet.protocol)),
        source=str(address(packet.source)),
        source_port=packet.sport,
        destination=str(address(packet.destination)),
        port=packet.dport,
        host=str(address(packet.host)),
        host_port=packet.host_port,
        lan=packet.lan,
        state=packet.state,
    )
