"""Shared by the UDP servers of the LAN (SSDP, port 5351): ``socket`` (one socket), ``sockets`` (those of a
server), ``filter`` (the kernel's filter of a socket), ``options`` (socket options that Python does not name)."""
