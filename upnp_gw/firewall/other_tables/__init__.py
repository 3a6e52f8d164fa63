"""Reads other nftables tables: their forwards, drops and flow offloads. On top of ``rules``.

listing   what they contain
static_forwards  ports that they forward elsewhere
samples   follows samples of traffic through their chains
drops     chains that drop mapped traffic; remedies: commands against that
without_nat  what they must do for hosts without NAT
leftovers  rules that miniupnpd left behind
offload   flows that pass every forward chain, ours too
"""
