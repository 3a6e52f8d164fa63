"""Reads other nftables tables: their forwards, drops and flow offloads."""
