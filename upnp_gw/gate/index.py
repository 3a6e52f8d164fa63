"""Look-up tables, made once when a policy is loaded: a decision then reads only the rules that can match."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from upnp_gw.gate.digest import digest
from upnp_gw.gate.portset import ALL_PORTS
from upnp_gw.gate.remote import Hosts
from upnp_gw.gate.schema import Device, DeviceRules, Forbid, Grant, Policy

Rule = TypeVar("Rule", Forbid, Grant)
K = TypeVar("K")


def with_indexes(policy: Policy) -> Policy:
    """The policy with its digest and its look-up tables."""
    devices = sorted(policy.devices.values(), key=lambda device: device.name)
    return replace(
        policy,
        digest=digest(policy),
        by_mac=_grouped((mac, device) for device in devices for mac in device.macs),
        by_address=_grouped((address, device) for device in devices for address in device.addresses),
        grants_of=_by_device(policy.grants, devices),
        grants_of_anyone=_by_port(tuple(grant for grant in policy.grants if grant.devices is None)),
        forbids_of=_by_device(policy.forbids, devices),
        forbids_of_anyone=_by_port(tuple(forbid for forbid in policy.forbids if forbid.devices is None)),
        screened=_screened(policy),
    )


def _screened(policy: Policy) -> dict[str, Hosts]:
    """All hosts that screens of this policy can name (``remote_match.screen_of``)."""
    kept_out = [forbid.remote for forbid in policy.forbids if forbid.remote is not None]
    granted = [grant.remote for grant in policy.grants if grant.remote is not None]
    if not kept_out:
        granted = [remote for remote in granted if remote.plain is None]
    only_and_never = [remote.screens for remote in granted] + [remote.screens_against for remote in kept_out]
    return {hosts.id: hosts for pair in only_and_never for side in pair for hosts in side}


def _grouped(pairs: Iterable[tuple[K, Device]]) -> dict[K, tuple[Device, ...]]:
    table: dict[K, tuple[Device, ...]] = {}
    for key, device in pairs:
        table[key] = (*table.get(key, ()), device)
    return table


def _by_device(rules: tuple[Rule, ...], devices: list[Device]) -> dict[str, DeviceRules[Rule]]:
    """Device name -> its rules and those for everyone, in the order given. Devices with equal rules share an
    object."""
    positions: dict[str, list[int]] = {device.name: [] for device in devices}
    for position, rule in enumerate(rules):
        for name in positions if rule.devices is None else rule.devices & positions.keys():
            positions[name].append(position)
    shared: dict[tuple[int, ...], DeviceRules[Rule]] = {}
    for indices in positions.values():
        key = tuple(indices)
        if key not in shared:
            shared[key] = _by_port(tuple(rules[position] for position in key))
    return {name: shared[tuple(indices)] for name, indices in positions.items()}


def _by_port(rules: tuple[Rule, ...]) -> DeviceRules[Rule]:
    """Divides the internal ports into pieces with the same rules."""
    starting: dict[int, list[int]] = {0: []}
    ending: dict[int, list[int]] = {}
    for position, rule in enumerate(rules):
        for low, high in rule.int_ports or ALL_PORTS:
            starting.setdefault(low, []).append(position)
            ending.setdefault(high + 1, []).append(position)
    starts = sorted(starting.keys() | ending.keys())
    pieces: list[tuple[Rule, ...]] = []
    current: set[int] = set()
    for start in starts:
        current.difference_update(ending.get(start, ()))
        current.update(starting.get(start, ()))
        pieces.append(tuple(rules[position] for position in sorted(current)))
    return DeviceRules(rules, tuple(starts), tuple(pieces))
