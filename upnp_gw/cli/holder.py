"""The mapping that has the requested port, as the commands show it."""

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.text.escape import shown


def format_holder(holder: api.Holder) -> str:
    """``m3 -> 192.168.1.23:80 of nas, "web"``."""
    target = formats.endpoint(shown(holder.internal_client), holder.internal_port)
    description = f', "{shown(holder.description)}"' if holder.description else ""
    return f"{shown(holder.mapping)} -> {target} of {shown(holder.device_name or holder.device)}{description}"
