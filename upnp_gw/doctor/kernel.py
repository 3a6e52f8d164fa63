"""The check of the kernel's rules against the ledger. Pure."""

from collections.abc import Iterator

from upnp_gw.api import Check
from upnp_gw.doctor import guides
from upnp_gw.doctor.findings import fail, ok, warn
from upnp_gw.doctor.machine_state import MachineState
from upnp_gw.firewall.base import TABLE, FirewallMode
from upnp_gw.firewall.openings.findings import Fault, Finding, Verdict
from upnp_gw.firewall.openings.sentences import sentence
from upnp_gw.text.escape import shown

NAME = "kernel"
SHOWN_MOST = 5
"""Findings that are shown."""
REMEDY = "to see all of it: upnp-gw policy prove --kernel"
OTHERS = "if it is not meant, close it in that firewall; all of it: upnp-gw policy prove --kernel"


def kernel(machine: MachineState) -> Iterator[Check]:
    """Nothing from the WAN reaches a LAN host but through a mapping."""
    if machine.proof_problem is not None:
        yield warn(NAME, f"cannot be compared with the ledger: {shown(machine.proof_problem, 300)}", REMEDY)
    if machine.proof is None:
        return
    proof, wan = machine.proof, machine.config.wan
    router = machine.config.firewall is FirewallMode.ROUTER
    for finding in proof.findings[:SHOWN_MOST]:
        words = shown(sentence(finding), 900)
        if finding.fault is Fault.UNKNOWN:
            yield warn(NAME, words, REMEDY, guide=guides.PROVE_KERNEL)
        elif of_others(finding, router):
            yield warn(NAME, words, OTHERS, guide=guides.PROVE_KERNEL)
        else:
            yield fail(NAME, words, REMEDY, guide=guides.PROVE_KERNEL)
    if len(proof.findings) > SHOWN_MOST:
        yield warn(NAME, f"{len(proof.findings) - SHOWN_MOST} more findings about it", REMEDY)
    if proof.verdict is Verdict.PROVED:
        yield ok(NAME, f"nothing from {wan} reaches a host of the LAN but through a mapping")


def of_others(finding: Finding, router: bool) -> bool:
    """True if another firewall lets the packet in, as a static forward or because it filters nothing. ``router``:
    our own table filters, so a packet that is not translated is let in by it."""
    packet = finding.packet
    ours = [rule for rule in finding.rules if rule.startswith(f"{TABLE} ") and ", policy " not in rule]
    translated = packet is not None and (packet.destination, packet.dport) != (packet.host, packet.host_port)
    return finding.others or not (router or ours or translated)
