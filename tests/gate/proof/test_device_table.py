"""Everything that one device can open."""

from tests.fixtures.policies import policy_of
from upnp_gw.gate.proof.device_table import device_table

POLICY = policy_of("""
default = "ask"
[device.nas]
mac = ["00:11:32:00:00:02"]
[device.tv]
mac = ["00:11:32:00:00:03"]
[[forbid]]
name = "admin"
int_ports = ["1-8000"]
[[grant]]
name = "web"
who = "nas"
proto = "tcp"
int_ports = ["7000-8099"]
ext = "same"
ext_ports = ["7000-8099"]
max_mappings = 2
max_ttl = "1h"
max_hold = "7d"
[[grant]]
name = "tv"
who = "tv"
""")


def test_the_rows_of_a_device() -> None:
    rows = list(device_table(POLICY, "nas"))
    web = [row for row in rows if row.rule == "web"]
    assert {(row.outcome, row.lease, row.limits) for row in web} == {("allow", "7d, 1h", "2 at a time")}
    assert any("tcp, internal 8001-8099, external the same" in row.what for row in web)
    assert all("7000" not in row.what.split("internal ")[1].split(",")[0] for row in web)
    assert {row.rule for row in rows} == {"web", "default"}
