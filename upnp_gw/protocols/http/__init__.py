"""HTTP/1.x as the LAN's URLs speak it (RFC 9110, RFC 9112), sans-I/O: ``head`` (request line and fields), ``body``
(its length or its chunks), ``answer`` (the bytes of an answer), ``response`` (the answer of another server)."""
