"""Every service that can be called: name -> rows. ``protocols.igd_services`` says which version has which
service."""

from upnp_gw.protocols.igd import (
    layer3_forwarding,
    wan_common_interface_config,
    wan_ip_connection,
    wan_ipv6_firewall_control,
)
from upnp_gw.protocols.igd.engine import ServiceRows

ROWS: dict[str, ServiceRows] = {
    "Layer3Forwarding": layer3_forwarding.ROWS,
    "WANCommonInterfaceConfig": wan_common_interface_config.ROWS,
    "WANIPConnection": wan_ip_connection.ROWS,
    "WANIPv6FirewallControl": wan_ipv6_firewall_control.ROWS,
}
