"""Reads the rules of nftables tables, and follows packets through them. Pure.

index       libnftables' JSON as chains and sets; iptables: rules of iptables in it
ranges      sets of numbers
packets     classes of packets: boxes of ranges
values      values of the listing as numbers; common_values: interfaces, states, labels, marks
fields      the field that a match looks at
matches     splits a class of packets; conditions: makes the matches of a rule
steps       the steps of rules
walk        follows packets through chains
wording     rules in words
"""
