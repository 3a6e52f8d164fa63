"""Metrics for Prometheus, in the process of the page. The daemon only counts (``upnp_gw.engine.measurements``).

catalogue  every metric: name, kind, labels and help
devices    the devices with metrics of their own
families   the answer of the daemon as metric families
exposition the text of /metrics
serving    the route, for the page and for the listener of ``[metrics]``
reference  docs/metrics.md, made from the catalogue
"""

from upnp_gw.metrics.serving import add_routes

__all__ = ["add_routes"]
