"""Flow offload of other tables: the kernel forwards established flows past every forward chain, including ours.

A flowtable takes a flow over once it is established. From then on its packets go from the ingress hook of one
device to another one: no chain sees them and no element counts them. Pure: libnftables' JSON in.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from upnp_gw.firewall.labels import LET_IN
from upnp_gw.firewall.rules.index import Json, RulesetIndex, part

XT_TARGET = "FLOWOFFLOAD"
"""The iptables target of OpenWrt."""


@dataclass(frozen=True, slots=True)
class FlowOffload:
    """A chain of another table that gives flows to a flowtable."""

    chain: str
    """Family, table and chain: ``inet fw4 forward``."""
    flowtable: str
    """The name of the flowtable; empty for the iptables target."""
    devices: tuple[str, ...]
    """The devices whose packets it takes; empty: not in the listing."""
    line: str
    """The command that keeps mapped flows out of it."""

    @property
    def description(self) -> str:
        name = f"flowtable {self.flowtable}" if self.flowtable else XT_TARGET
        return f"{name}, devices {', '.join(self.devices)}" if self.devices else name


def flow_offloads(ruleset: Json) -> list[FlowOffload]:
    """Every chain of other tables that gives flows to a flowtable, in the listing's order."""
    devices = {
        (it.get("family"), it.get("table"), it.get("name")): _devices(it.get("dev"))
        for item in ruleset.get("nftables", ())
        if (it := item.get("flowtable")) is not None
    }
    found: dict[FlowOffload, None] = {}
    for chain in RulesetIndex.of(ruleset).chains.values():
        for rule in chain.rules:
            for name in _flowtables(rule):
                line = f"nft insert rule {chain} ct label {LET_IN} accept"
                on = devices.get((chain.family, chain.table, name), ())
                found[FlowOffload(str(chain), name, on, line)] = None
    return list(found)


def _flowtables(rule: Json) -> Iterator[str]:
    for statement in rule if isinstance(rule, list) else ():
        if (name := part(statement, "flow", "flowtable")) is not None:
            yield str(name).removeprefix("@")
        elif part(statement, "xt", "name") == XT_TARGET:
            yield ""


def _devices(value: Json) -> tuple[str, ...]:
    """The device names. The listing has one device as a bare string, and none if the devices are gone."""
    return (value,) if isinstance(value, str) else tuple(map(str, value or ()))
