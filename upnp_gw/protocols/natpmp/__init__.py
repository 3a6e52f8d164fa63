"""NAT-PMP (RFC 6886), sans-I/O: ``codec`` has the messages and their bytes, ``mapping`` makes requests of them."""
