"""Takes a router over from miniupnpd: its settings, its permission lines and its leases. Pure, without I/O.

original       what a configuration of miniupnpd says, line by line
bounded_text   bytes of a foreign file -> lines, within bounds
miniupnpd_conf reads miniupnpd.conf; permission_line: one of its permission lines
remarks        what becomes of each line: carried, carried with a difference, not carried
lease_file     reads miniupnpd's lease files
"""
