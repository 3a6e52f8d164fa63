"""SSDP on UDP port 1900: ``server`` announces and answers searches, ``socket`` has joined the multicast groups."""
