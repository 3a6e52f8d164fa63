"""Identifies the requester: from an address and its neighbour entry to a device, and to its names in the policy.

A device is a MAC address on a LAN (``model.device``). A host whose MAC address is not known (behind another router,
or not yet in the neighbour table) is identified by its IP address. A grant needs all facts of a device (MAC
address, IP address, LAN, DHCP lease) to agree. For a forbid one is enough, so that a missing fact opens nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import NamedTuple

from upnp_gw.gate.decision import Facts, HeldMappings
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.gate.remote import stale_sets
from upnp_gw.gate.schema import ANYWHERE, Assurance, Device, Policy
from upnp_gw.model.device import OPERATOR, device_id, lan_of, mac_of
from upnp_gw.model.dhcp import Leases
from upnp_gw.model.mapping import Instant, IPAddress, Via
from upnp_gw.model.network import GatewayPorts, Neighbours, Network
from upnp_gw.model.request import MapRequest

NO_LEASES = Leases()
NONE_STALE: frozenset[str] = frozenset()


class IdentifiedHost(NamedTuple):
    """The host behind an address."""

    device: str
    """Its identifier (``upnp_gw.model.device``)."""
    mac: str | None
    lan: str
    """Its LAN interface; empty: unknown."""


def device_of(network: Network, neighbours: Neighbours, address: IPAddress, interface: str = "") -> IdentifiedHost:
    """The host behind an address. ``interface``: the LAN that its packet came in on; empty: the LAN of its prefix.

    Two LANs can have the same link-local address; only the interface distinguishes them.
    """
    lan = interface or network.lan_of(address)
    entry = neighbours.find(address, lan or None)
    if entry is None:
        return IdentifiedHost(str(address), None, lan)
    return IdentifiedHost(network.device_id(entry.mac, entry.interface), entry.mac, entry.interface)


class RequestHosts(NamedTuple):
    """The hosts of a request for a mapping, by the neighbour table."""

    requester: IdentifiedHost
    internal_client: IdentifiedHost


def hosts_of(network: Network, neighbours: Neighbours, request: MapRequest) -> RequestHosts:
    """The hosts of a request. One that asks for its own address is looked up once, on the LAN that it asks on."""
    source, target = request.source.address, request.internal.address
    requester = device_of(network, neighbours, source, request.source.interface)
    return RequestHosts(requester, requester if target == source else device_of(network, neighbours, target))


def names_of(policy: Policy, facts: Facts) -> frozenset[str]:
    """The names of the requester: those whose facts all agree. Usually none or one."""
    devices = _known(policy, facts.mac, facts.address)
    return frozenset([device.name for device in devices if _agrees(device, facts)])


def _known(policy: Policy, mac: str | None, address: IPAddress) -> tuple[Device, ...]:
    """Every device that has this MAC or this address among its facts."""
    devices = () if mac is None else policy.by_mac.get(mac, ())
    return (*devices, *policy.by_address.get(address, ())) if policy.by_address else devices


def _agrees(device: Device, facts: Facts) -> bool:
    if device.addresses and facts.address not in device.addresses:
        return False
    if (
        device.macs
        and facts.mac not in device.macs
        and (device.assure is not Assurance.IP or facts.mac is not None)
    ):
        return False
    if not _on_its_lan(device, facts.lan, facts.main_lan):
        return False
    # At a restart the lease file may not have been read yet: the mapping must not end because of that.
    unread = facts.restoring and facts.dhcp_name is None
    if device.dhcp_name is not None and not _same_name(facts.dhcp_name, device.dhcp_name) and not unread:
        return False
    return device.assure is not Assurance.LEASE or facts.lease_agrees or unread


def _on_its_lan(device: Device, lan: str, main_lan: str) -> bool:
    """A MAC address counts on the LANs that the policy names for it, else on the main LAN: a host of another LAN
    can copy it. An IP address is on one LAN, so the policy need not name it."""
    if device.lans:
        return lan in device.lans or ANYWHERE in device.lans
    return lan == main_lan or not device.macs


def _same_name(lease_name: str | None, policy_name: str) -> bool:
    """Host names are the same in either case (RFC 4343)."""
    return lease_name is not None and lease_name.casefold() == policy_name.casefold()


def possible_names(policy: Policy, facts: Facts, target: IPAddress) -> frozenset[str]:
    """For the forbids: the names whose MAC address or IP address is the requester's or the internal client's.

    On any LAN, unless the policy names the LANs of the device.
    """
    names = [device.name for device in _known(policy, facts.mac, facts.address) if _may_be(device, facts.lan)]
    if facts.target_mac != facts.mac or target != facts.address:
        others = _known(policy, facts.target_mac, target)
        names += [device.name for device in others if _may_be(device, facts.target_lan)]
    return frozenset(names)


def _may_be(device: Device, lan: str) -> bool:
    return not device.lans or not lan or lan in device.lans or ANYWHERE in device.lans


def may_be_moved(policy: Policy, facts: Facts, device: str) -> bool:
    """True where the requester may end the mappings of ``device``, which has the same MAC address on another LAN:
    the device has moved.

    On the main LAN it may. On another LAN it may only if the policy gives both the same name: a guest that copied
    the MAC address of a device must not end its mappings.
    """
    mac, old_lan = mac_of(device), lan_of(device)
    if mac is None or mac != facts.mac or device == facts.device:
        return False
    if facts.lan == facts.main_lan:
        return True
    names = names_of(policy, facts)
    return any(
        named.name in names and _on_its_lan(named, old_lan, facts.main_lan) for named in policy.by_mac.get(mac, ())
    )


def ids_of(device: Device, lans: Sequence[str]) -> frozenset[str]:
    """The identifiers that a device of the policy can have if these LANs are served (``Network.lan_names``)."""
    if not device.macs:
        return frozenset(map(str, device.addresses))
    where = [lan for lan in lans or ("",) if _on_its_lan(device, lan, next(iter(lans), ""))]
    return frozenset(device_id(mac, lan if len(lans) > 1 else "") for mac in device.macs for lan in where)


def on_other_lans(policy: Policy, network: Network, neighbours: Neighbours) -> tuple[str, ...]:
    """A sentence for each device of the policy whose MAC address is seen only on LANs where it does not count."""
    sentences = []
    for device in policy.devices.values() if len(network.lans) > 1 else ():
        seen = sorted({lan for mac in device.macs for lan in neighbours.interfaces_of(mac)})
        counts = sorted({lan_of(name) for name in ids_of(device, network.lan_names)})
        if seen and not {*seen} & {*counts}:
            lans, name = " and ".join(counts) or "no LAN", device.name
            sentences.append(
                f"the policy recognises {name} only on {lans}, but its MAC address is on {' and '.join(seen)};"
                f" if it belongs there, add lan = [...] to [device.{name}]"
            )
    return tuple(sentences)


def name_of(policy: Policy, device: str, main_lan: str, address: IPAddress | None = None) -> str | None:
    """The name of a device for display, by its MAC address, else by its IP address. It decides nothing."""
    mac, lan = mac_of(device), lan_of(device) or main_lan
    devices = [named for named in policy.by_mac.get(mac or "", ()) if _on_its_lan(named, lan, main_lan)]
    if not devices:
        address = address or (_address(device) if mac is None else None)
        devices = [*policy.by_address.get(address, ())] if address is not None else []
    return devices[0].name if devices else None


def _address(text: str) -> IPAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def gather(
    policy: Policy,
    network: Network,
    neighbours: Neighbours,
    gateway_ports: GatewayPorts,
    history: DeviceHistory,
    held: HeldMappings,
    request: MapRequest,
    now: Instant,
    local: datetime,
    *,
    clock_change_s: float | None = None,
    restoring: bool = False,
    renewing: bool = False,
    standing: bool = False,
    holder: str | None = None,
    delegated: bool = False,
    leases: Leases = NO_LEASES,
    hosts: RequestHosts | None = None,
) -> Facts:
    """The facts of one request.

    ``local``: the gateway's local time. ``holder``: the device of the mapping where the gateway decides again
    (``restoring``, ``renewing``); it counts where the neighbour table does not know the internal client. Not if the
    mapping is ``delegated``: then the internal client is another device, which is away. ``standing``: the request
    makes nothing more reachable. ``hosts``: if they are known already.
    """
    source = request.source.address
    requester, internal_client = hosts or hosts_of(network, neighbours, request)
    if holder is not None and (held_by := mac_of(holder)) is not None:
        # A neighbour entry with another MAC address means that the internal client is another device now.
        requester = IdentifiedHost(holder, held_by, lan_of(holder) or _only_lan(network))
        internal_client = internal_client if internal_client.mac is not None or delegated else requester
    if request.via is Via.OPERATOR:
        requester = IdentifiedHost(OPERATOR, None, "")
    device, mac, lan = requester
    dhcp_name, lease_agrees = leases.known(source, mac, neighbours, now.wall, lambda a: network.lan_of(a) == lan)
    today = local.toordinal()
    datagram = request.via.datagram
    return Facts(
        device=device,
        mac=mac,
        address=source,
        target_device=internal_client.device,
        target_mac=internal_client.mac,
        lan=lan,
        target_lan=internal_client.lan,
        main_lan=network.main_lan,
        network=network,
        gateway_ports=gateway_ports,
        minute_of_day=local.hour * 60 + local.minute,
        second_of_minute=local.second + local.microsecond / 1e6,
        clock_change_s=clock_change_s,
        today=today,
        wall=now.wall,
        held=held,
        # A refresh opens nothing new, and a flood of forged datagrams must not end the mappings of the device.
        changes_last_minute=0 if standing and datagram else history.changes_last_minute(device, now, datagram),
        int_ports_today=history.int_ports_today(device, today, datagram),
        frozen=history.frozen(device, now),
        dhcp_name=dhcp_name,
        lease_agrees=lease_agrees,
        quarantined=history.quarantined(device, now)
        or (internal_client.device != device and history.quarantined(internal_client.device, now)),
        restoring=restoring,
        renewing=renewing,
        standing=standing,
        stale_sets=stale_sets(policy.sets, now.wall) if policy.sets else NONE_STALE,
    )


def _only_lan(network: Network) -> str:
    return network.main_lan if len(network.lans) == 1 else ""
