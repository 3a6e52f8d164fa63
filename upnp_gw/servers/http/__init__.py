"""HTTP on the LAN: ``server`` (the answers), ``connection`` (requests of one connection), ``transport`` and
``limits`` (how much a host may use), ``peers``, ``host_header`` and ``framing`` (checks before a request is
served), ``answers``, ``routes``, ``presentation`` (the page for people), ``control`` (SOAP), ``gena_delivery``
(events), ``listeners``."""
