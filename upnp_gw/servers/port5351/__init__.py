"""NAT-PMP and PCP on UDP port 5351: ``server``, ``socket``, ``limits`` (rates), ``mapping_updates`` (PCP)."""
