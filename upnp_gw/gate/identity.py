"""Who asks: from an address and its neighbour entry to a device, its names and its zones.

A device is its MAC address; a host whose MAC is unknown (behind another router, or not yet in the neighbour
table) counts by its address. A name is given by the policy, and only when all the facts it asks for agree; a
forbid already counts when one of them fits, so that an unreadable fact never opens anything.
"""

from datetime import datetime

from upnp_gw.gate.decision import Facts, Held
from upnp_gw.gate.dhcp import Leases
from upnp_gw.gate.limits import DeviceBook
from upnp_gw.gate.schema import Assure, Device, Policy
from upnp_gw.model import Instant, IPAddress, Via
from upnp_gw.network import GatewayPorts, Neighbours, Network
from upnp_gw.request import MapRequest

NO_LEASES = Leases()
OPERATOR = "operator"
"""The device of a request that came over the control socket."""


def device_of(neighbours: Neighbours, address: IPAddress, interface: str = "") -> tuple[str, str | None]:
    """(device, its MAC or None) of the host behind this address; a link-local one may be on two LANs."""
    mac = neighbours.mac_of(address, interface or None)
    return mac or str(address), mac


def is_mac(device: str) -> bool:
    """True where a device id is a MAC address and not an address."""
    return [len(part) for part in device.split(":")] == [2] * 6


def names_of(policy: Policy, facts: Facts) -> frozenset[str]:
    """The names of the requester: those whose facts all agree. Usually none or one."""
    devices = _known(policy, facts.mac, facts.address)
    return frozenset([device.name for device in devices if _agrees(device, facts)])


def _known(policy: Policy, mac: str | None, address: IPAddress) -> tuple[Device, ...]:
    """Every device that has this MAC or this address among its facts."""
    found = () if mac is None else policy.by_mac.get(mac, ())
    return (*found, *policy.by_address.get(address, ())) if policy.by_address else found


def _agrees(device: Device, facts: Facts) -> bool:
    if device.addresses and facts.address not in device.addresses:
        return False
    if device.macs and facts.mac not in device.macs and (device.assure is not Assure.IP or facts.mac is not None):
        return False
    # At a restart the lease file may not have been read yet: that is no denial (design section 9).
    unread = facts.restoring and facts.dhcp_name is None
    if device.dhcp_name is not None and not _same_name(facts.dhcp_name, device.dhcp_name) and not unread:
        return False
    return device.assure is not Assure.LEASE or facts.lease_agrees or unread


def _same_name(told: str | None, wanted: str) -> bool:
    """Host names are the same in either case (RFC 4343)."""
    return told is not None and told.casefold() == wanted.casefold()


def suspects(policy: Policy, facts: Facts, target: IPAddress) -> frozenset[str]:
    """Every name that a forbid must take into account: requester or internal client, by MAC or by address."""
    devices = _known(policy, facts.mac, facts.address)
    if facts.target_mac != facts.mac or target != facts.address:
        devices = (*devices, *_known(policy, facts.target_mac, target))
    return frozenset([device.name for device in devices])


def name_of(policy: Policy, mac: str | None, address: IPAddress | None) -> str | None:
    """The name to show for a host: by its MAC, else by its address. For people; decides nothing."""
    known = policy.by_mac.get(mac or "", ()) or (() if address is None else policy.by_address.get(address, ()))
    return known[0].name if known else None


def gather(
    policy: Policy,
    network: Network,
    neighbours: Neighbours,
    gateway_ports: GatewayPorts,
    book: DeviceBook,
    held: Held,
    request: MapRequest,
    now: Instant,
    local: datetime,
    *,
    restoring: bool = False,
    renewing: bool = False,
    standing: bool = False,
    holder: str | None = None,
    delegated: bool = False,
    leases: Leases = NO_LEASES,
) -> Facts:
    """The facts of one request, in one call.

    ``local`` is the gateway's local time. ``holder`` is the device of the stored mapping where the gateway itself
    decides again (restoring, renewing): it counts where the neighbour table does not know the address (not yet,
    or no more). Not where the mapping is ``delegated``: the address of another device is not the holder's while
    that device is away. ``standing``: nobody can reach anything after the request that they could not reach before.
    """
    source, target = request.source.address, request.internal.address
    device, mac = device_of(neighbours, source, request.source.interface)
    target_device, target_mac = (device, mac) if target == source else device_of(neighbours, target)
    if holder is not None and is_mac(holder):
        # The gateway itself asks, for the holder. A neighbour with another MAC makes the target another's.
        device, mac = holder, holder
        known = target_mac is not None or delegated
        target_device, target_mac = (target_device, target_mac) if known else (holder, holder)
    if request.via is Via.OPERATOR:
        device, mac = OPERATOR, None
    dhcp_name, lease_agrees = leases.known(source, mac, neighbours, now.wall)
    today = local.date().toordinal()
    datagram = request.via.datagram
    return Facts(
        device=device,
        mac=mac,
        address=source,
        target_device=target_device,
        target_mac=target_mac,
        network=network,
        gateway_ports=gateway_ports,
        minute_of_day=local.hour * 60 + local.minute,
        today=today,
        wall=now.wall,
        held=held,
        # a refresh opens nothing new, and a flood in the device's name must not end what it holds
        changes_last_minute=0 if standing and datagram else book.changes_last_minute(device, now, datagram),
        int_ports_today=book.int_ports_today(device, today, datagram),
        frozen=book.frozen(device, now),
        dhcp_name=dhcp_name,
        lease_agrees=lease_agrees,
        quarantined=book.quarantined(device, now),
        restoring=restoring,
        renewing=renewing,
        standing=standing,
    )
