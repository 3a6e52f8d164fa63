"""Takes a router over from miniupnpd: its settings, its permission lines and its leases. Pure.

reading        bytes -> a configuration of miniupnpd, of whichever kind
original       the configuration, line by line; the same for each kind
bounded_text   bytes of a foreign file -> lines, within bounds
miniupnpd_conf reads miniupnpd.conf; permission_line: one of its permission lines
uci            reads files of OpenWrt; openwrt: its /etc/config/upnpd; openwrt_network: devices of its interfaces
lease_file     reads miniupnpd's lease files
settings       settings -> keys of our configuration; setting_values: how miniupnpd reads them; lan_names: LANs
config_text    the configuration file
order_free     permission lines -> grants and forbids, whose order does not matter
policy_text    the policy file; permission_remarks: what became of each line
first_match    the answer of permission lines to one request
comparison     proves that the policy answers as the lines do, or finds the requests that differ
conversion     all of it together; remarks: what became of each line
"""
