"""The devices of OpenWrt's logical interfaces, by its ``/etc/config/network``. Pure.

A tunnel has a device of its own, which netifd names after protocol and interface: ``pppoe-wan``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from upnp_gw.migration.uci import UciSection

TUNNELS = frozenset({"pppoe", "pppoa", "ppp", "pptp", "l2tp", "3g", "gre", "6in4", "6to4", "6rd", "dslite", "vti"})
"""Protocols with a device ``PROTOCOL-INTERFACE``."""
OWN_NAME = frozenset({"wireguard", "openvpn"})
"""Those whose device has the name of the interface."""
MODEMS = frozenset({"qmi", "mbim", "ncm", "modemmanager"})
"""Those whose device the modem has: the file does not name it."""
LONGEST_ALIAS = 4
"""Steps from interface to interface (``device '@wan'``)."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The interfaces of a file."""

    sections: Mapping[str, UciSection]

    def device(self, name: str) -> str:
        """The device of an interface; empty: the file does not tell it."""
        for _ in range(LONGEST_ALIAS):
            section = self.sections.get(name)
            if section is None:
                return ""
            protocol = section.value("proto")
            if protocol in MODEMS:
                return ""
            if protocol in TUNNELS:
                return f"{protocol}-{name}"
            if protocol in OWN_NAME:
                return name
            device = section.value("device") or section.value("ifname")
            if section.value("type") == "bridge":
                return f"br-{name}"
            if not device.startswith("@"):
                return device if len(device.split()) == 1 else ""
            name = device[1:]
        return ""


NO_NETWORKS = Networks(MappingProxyType({}))
"""No file was given."""


def networks_of(sections: Sequence[UciSection]) -> Networks:
    """Those of the sections of ``/etc/config/network``."""
    return Networks({section.name: section for section in sections if section.type == "interface" and section.name})
