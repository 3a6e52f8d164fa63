"""HTTP on the LAN: ``server`` (requests), ``connection``, ``limits``, ``framing`` and ``host_header`` (checks
before a request is served), ``routes``, ``control`` (SOAP), ``gena_delivery`` (events), ``listeners``, ``scpd``
(what our services declare)."""
