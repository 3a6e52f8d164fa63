"""Device identifiers: the MAC address, with the LAN where the gateway serves several.

Any host can copy a MAC address, and a host of the guest LAN must not pass for a device of the home LAN. So the same
MAC address on two LANs is two devices: ``00:11:32:00:00:02@lan0`` and ``00:11:32:00:00:02@lan1``. With one LAN the
identifier is the MAC address alone. A host behind another router, whose MAC address is not known, is identified by
its IP address.
"""

import re

OPERATOR = "operator"
"""The device of a request that came over the control socket."""
GATEWAY = "gateway"
"""The device of a record about the gateway's own work, see ``upnp_gw.engine.audit.record_all``."""

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_INTERFACE = re.compile(r"(?!\.{1,2}$)[^/:\s\x00-\x1f\x7f]{1,15}")


def is_interface(text: str) -> bool:
    """True for a name that the kernel accepts for an interface (IFNAMSIZ, dev_valid_name)."""
    return _INTERFACE.fullmatch(text) is not None and len(text.encode("utf-8", "surrogatepass")) <= 15


def device_id(mac: str, lan: str) -> str:
    """The identifier of a device. ``lan`` is empty where the gateway serves a single LAN."""
    return f"{mac}@{lan}" if lan else mac


def mac_of(device: str) -> str | None:
    """The MAC address in a device identifier; None for an IP address and for the operator."""
    mac = device.partition("@")[0]
    return mac if is_mac(mac) else None


def lan_of(device: str) -> str:
    """The LAN interface in a device identifier; empty where it has none."""
    return device.partition("@")[2]


def is_mac(text: str) -> bool:
    """True for six pairs of lower-case hexadecimal digits separated by colons."""
    return _MAC.fullmatch(text) is not None
