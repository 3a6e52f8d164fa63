"""What a device is called: by its MAC address, and by the LAN it is on where the gateway serves several.

Anybody can copy a MAC address. A host on the guest LAN must not become a device of the home LAN by it, so the same
MAC address on two LANs is two devices: ``00:11:32:00:00:02@lan0`` and ``00:11:32:00:00:02@lan1``. With one LAN it
is the MAC address alone. A host whose MAC address is not known, behind another router, is called by its address.
"""

import re

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_INTERFACE = re.compile(r"(?!\.{1,2}$)[^/:\s\x00-\x1f\x7f]{1,15}")


def is_interface(text: str) -> bool:
    """True for what the kernel takes as an interface's name (IFNAMSIZ, dev_valid_name)."""
    return _INTERFACE.fullmatch(text) is not None and len(text.encode("utf-8", "surrogatepass")) <= 15


def device_id(mac: str, lan: str) -> str:
    """``lan`` empty: there is only one."""
    return f"{mac}@{lan}" if lan else mac


def mac_of(device: str) -> str | None:
    """The MAC address in a device's name; None: it is told by its address, or is the operator."""
    mac = device.partition("@")[0]
    return mac if is_mac(mac) else None


def lan_of(device: str) -> str:
    """The LAN interface in a device's name; empty: none is named."""
    return device.partition("@")[2]


def is_mac(text: str) -> bool:
    """True for six pairs of lower-case hexadecimal digits with colons between them."""
    return _MAC.fullmatch(text) is not None
