"""Reads other nftables tables: their forwards, drops and flow offloads.

listing   what they contain, as static forwards and filters
index     libnftables' JSON as chains and sets
walk      follows a sample packet through a chain; matching: whether a rule matches it; iptables: rules of iptables
drops     chains that drop mapped traffic; remedies: commands against that
without_nat  what they must do for hosts without NAT
offload   flows that pass every forward chain, ours too
"""
