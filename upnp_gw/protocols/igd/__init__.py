"""The services of the Internet Gateway Device, one module each: arguments -> answer, fault or request.

``model`` has the actions and arguments that the service descriptions declare, ``arguments`` makes typed values of
text, ``faults`` has every error code, ``engine`` finds and runs an action. A new service needs a module of rows, a
description in ``descriptors/``, a line in ``services`` and one in ``protocols.igd_services``.

soap              bytes of a POST -> ``Call``; raw_description: what clients did not escape
control_call      the control point's side of it; foreign_description: the description of another gateway
wan_ip_connection, wan_common_interface_config, wan_ipv6_firewall_control, layer3_forwarding: the services
port_mappings     the port-mapping actions of WANIPConnection; port_listing: its list as XML
evented           the evented variables
description       the root device descriptions; scpd: reads the service descriptions
"""
