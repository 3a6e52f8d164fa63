"""The reach of an external address."""

from ipaddress import IPv4Address
from typing import Literal

from upnp_gw.model.public_addresses import private_external


def address_kind(external: IPv4Address | None) -> Literal["public", "private", "shared", "none"]:
    """``public`` if the internet can reach this address; else the reason why it cannot."""
    if not external:
        return "none"
    why = private_external(external)
    if why is None:
        return "public"
    return "shared" if why.startswith("shared") else "private"
