"""Findings in words. Pure. Names of foreign tables are as they are: escape them before they reach a terminal."""

from ipaddress import IPv4Address, IPv6Address

from upnp_gw.firewall.openings.findings import Fault, Finding, Packet


def endpoint(version: int, address: int, port: int) -> str:
    """``192.0.2.1:80``, ``[2001:db8::1]:80``."""
    return f"{IPv4Address(address)}:{port}" if version == 4 else f"[{IPv6Address(address)}]:{port}"


def protocol_name(number: int) -> str:
    """``tcp``, ``udp``, ``protocol 47``."""
    return {6: "tcp", 17: "udp"}.get(number, f"protocol {number}")


def packet_words(packet: Packet) -> str:
    """``tcp from 192.0.2.7:1024 to 198.51.100.1:8080 reaches 192.168.1.10:8080 on lan0``."""
    version = packet.version
    source = endpoint(version, packet.source, packet.sport)
    sent_to = endpoint(version, packet.destination, packet.dport)
    host = endpoint(version, packet.host, packet.host_port)
    state = "" if packet.state in ("new", "established") else f" ({packet.state})"
    flow = "the flow " if packet.state == "established" else ""
    translated = f"to {sent_to} reaches {host}" if sent_to != host else f"reaches {host}"
    return f"{flow}{protocol_name(packet.protocol)}{state} from {source} {translated} on {packet.lan}"


def sentence(finding: Finding) -> str:
    """A finding as a sentence without its full stop."""
    rules = "; ".join(finding.rules)
    if finding.packet is None:
        return f"nothing is proved: {rules}"
    packet, by = packet_words(finding.packet), f"; let through by: {rules}"
    match finding.fault:
        case Fault.UNKNOWN:
            return f"it cannot be told whether {packet}; not understood: {rules}"
        case Fault.NO_MAPPING:
            return f"{packet}, and no mapping opens it{by}"
        case Fault.NO_TIMEOUT:
            return f"{packet} by {finding.mapping} and has no timeout: it stays open when the lease ends{by}"
        case Fault.OUTLIVES:
            ends = f"{finding.expires_s or 0:.0f} s"
            return f"{packet} by {finding.mapping}, and the kernel closes it in {ends}: later than its lease{by}"
        case Fault.FLOW:
            return f"{packet}, and no mapping lets it in{by}"
        case Fault.FLOW_LASTS:
            return f"if a mapping let it in before it ended, {packet}: nothing drops it{by}"
    return f"{packet} by {finding.mapping}, and the policy in force can allow no such mapping"
