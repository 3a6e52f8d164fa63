"""The operation ``known``: a device as the policy sees it, with its rules. It changes nothing."""

from typing import Literal

from upnp_gw import api
from upnp_gw.control.targets import Targets
from upnp_gw.engine.decider import Decider
from upnp_gw.gate.managed_file import KINDS, port_values
from upnp_gw.gate.remote import Hosts
from upnp_gw.gate.schema import Family, Forbid, Grant
from upnp_gw.model.mapping import Transport


class KnownDeviceCommands:
    """``targets``: as for the commands that change rules, so that both mean the same device."""

    def __init__(self, decider: Decider, targets: Targets) -> None:
        self._decider = decider
        self._targets = targets

    async def known(self, device: str) -> api.KnownDevice | api.Problem:
        target = await self._targets.find(device)
        if isinstance(target, api.Problem):
            return api.Problem(error="not-found", message=target.message, field="device")
        policy = self._decider.in_force.policy
        forbids = policy.forbids_of.get(target.name or "", policy.forbids_of_anyone).every
        grants = policy.grants_of.get(target.name or "", policy.grants_of_anyone).every
        approved = self._decider.in_force.approved
        written = frozenset(rule["name"] for kind in KINDS for rule in approved.get(kind, ()))
        return api.KnownDevice(
            device=target.devices[0],
            name=target.name,
            suggested=target.suggested,
            rules=[
                *(forbid_shown(rule, rule.name in written) for rule in forbids),
                *(grant_shown(rule, rule.name in written) for rule in grants),
            ],
            default="ask" if policy.default.value == "ask" else "deny",
        )


def forbid_shown(rule: Forbid, written: bool) -> api.DeviceRule:
    return api.DeviceRule(
        kind="forbid",
        name=rule.name,
        everyone=rule.devices is None,
        transports=_transports(rule.transports),
        families=_families(rule.families),
        internal_ports=port_values(rule.int_ports or ()),
        external_ports=port_values(rule.ext_ports or ()),
        remote_hosts=_texts(None if rule.remote is None else rule.remote.only),
        never_hosts=_texts(None if rule.remote is None else rule.remote.never),
        zone=rule.zone,
        zone_from=rule.zone_from,
        zone_for=rule.zone_for,
        via=sorted(rule.vias or (), key=lambda via: via.value),
        hours=str(rule.hours) if rule.hours is not None else None,
        ends_at=api.moment(rule.until) if rule.until is not None else None,
        written=written,
    )


def grant_shown(rule: Grant, written: bool) -> api.DeviceRule:
    return api.DeviceRule(
        kind="grant",
        name=rule.name,
        everyone=rule.devices is None,
        transports=_transports(rule.transports),
        families=_families(rule.families),
        internal_ports=port_values(rule.int_ports),
        external_ports=port_values(rule.ext_ports or ()),
        remote_hosts=_texts(None if rule.remote is None else rule.remote.only),
        never_hosts=_texts(None if rule.remote is None else rule.remote.never),
        zone=rule.zone,
        hours=str(rule.hours) if rule.hours is not None else None,
        approval=rule.approve,
        max_mappings=rule.max_mappings,
        max_lease_s=rule.max_hold_s,
        ends_at=api.moment(rule.until) if rule.until is not None else None,
        review_by=rule.review_by,
        owner=rule.owner,
        reason=rule.reason,
        written=written,
    )


def _texts(hosts: Hosts | None) -> list[str]:
    return [] if hosts is None else hosts.texts


def _transports(transports: frozenset[Transport]) -> list[Transport]:
    return sorted(transports, key=lambda transport: transport.value)


def _families(families: frozenset[Family]) -> list[Literal["ip4", "ip6"]]:
    return [family.value for family in sorted(families, key=lambda family: family.value)]
