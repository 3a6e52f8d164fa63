"""``upnp-gw lab``: any program on a LAN host whose gateway is ours, and a report of what it did there.

run       builds the lab, runs the gateway and the program, makes the report
packet    one IP packet of TCP or UDP; pure
capture   the program's packets that concern the gateway, and those of the probes
journal   packets -> what the program asked and what it was answered; pure
openings  probes each mapping from the internet as soon as it is open
leftover  processes that the program left on its host
report    the values of the report; pure
"""
