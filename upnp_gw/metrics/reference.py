"""docs/metrics.md, made from the catalogue: ``python -m upnp_gw.metrics.reference > docs/metrics.md``."""

from upnp_gw.metrics.catalogue import CATALOGUE, Metric

HEAD = """\
# Metrics

`upnp-gw page` serves metrics for [Prometheus](https://prometheus.io/docs/): the daemon counts, and the page asks it
over the control socket at each reading. A reading costs the daemon one request; nothing runs in it for that.

Two ways to read them:

- `[metrics] listen` of the configuration, for a Prometheus on this machine or behind a firewall of your own.
  Anybody who can connect there can read them. They name the devices of the house. A Prometheus that connects to
  a name, and not to an address, needs that name in `names` of `[page]`: other names are refused, because a web page
  elsewhere could read the metrics through a browser here.
  On an address of a LAN it answers this LAN alone; an address of no LAN of the gateway is refused.
- `/metrics` at the operator's page, with a token that only reads: `upnp-gw token create prometheus`.

```toml
[metrics]
listen = "127.0.0.1:9909"
devices = 50
```

One of these two jobs:

```yaml
scrape_configs:
  - job_name: upnp-gw
    static_configs:
      - targets: ["127.0.0.1:9909"]
  - job_name: upnp-gw-page
    authorization:
      credentials_file: /etc/prometheus/upnp-gw.token
    static_configs:
      - targets: ["127.0.0.1:5081"]
```

At most `devices` devices have metrics of their own, and keep them until the page ends. The others are counted
together as device `other`, so that the number of time series is bounded. Bytes are those of the last reading of the
kernel's counters, which the daemon reads every few seconds.

[alerts.yml](../examples/prometheus/alerts.yml) has rules for alerts, and
[dashboard.json](../examples/grafana/dashboard.json) a dashboard for Grafana: Dashboards, New, Import.

If the daemon does not answer, `upnp_gw_up` is 0 and the other metrics of the gateway are missing. Counters begin at
0 when the daemon starts. Metrics that begin with `process_` are of the page.

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
"""


def reference() -> str:
    """The whole page."""
    return HEAD + "".join(map(_row, CATALOGUE))


def _row(metric: Metric) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.full}` | {metric.kind} | {labels} | {metric.help} |\n".replace("|  |", "| |")


if __name__ == "__main__":
    print(reference(), end="")
