"""Every fault, in modules by what it disturbs. ``testing.registry`` has their names.

answers         errors, late answers
http_shapes     broken HTTP answers, and answers of another shape
requests        requests read with other leases and ports
refusals        requests refused by what they ask for
listing         lists that do not say what there is
descriptions    other device descriptions; ppp_connection: another service
ssdp            searches and announcements
port5351        wrong values of NAT-PMP and PCP
events          lost events, and events in another order
firewalls       the firewall's own
policies        other policies
wan             other external addresses, WAN down
reboots         a restart
octets          the places of values in messages
"""
