"""The operations ``evidence``, ``suggest`` and ``stale``. They change nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address

from upnp_gw import api
from upnp_gw.control.serialize import parse_address
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.evidence_collector import EvidenceCollector, opening_of
from upnp_gw.engine.policy_files import PolicyFiles, local_today
from upnp_gw.gate.address_lists import NO_LISTS
from upnp_gw.gate.facts import device_of, ids_of, name_of
from upnp_gw.gate.list_files import ListFiles
from upnp_gw.gate.load import read_text
from upnp_gw.gate.managed_file import free_name
from upnp_gw.ledger.evidence import Evidence, EvidenceKey
from upnp_gw.ledger.traffic import SLOT_S, slot_of
from upnp_gw.model.device import lan_of
from upnp_gw.model.errors import ConfigError, FirewallError
from upnp_gw.model.mapping import DAY_S, IPAddress, Mapping, MappingKind, Usage
from upnp_gw.suggest.document import Suggestion, suggest_policy
from upnp_gw.suggest.listeners import Listener, learn_from
from upnp_gw.suggest.needs import Learned, learn
from upnp_gw.suggest.stale import find_stale

log = logging.getLogger(__name__)

Count = Callable[[bool], Awaitable[None]]
"""Reads the counters of the kernel; True: also the remote hosts (``Scheduler.count``)."""
Probe = Callable[[IPAddress, str], Awaitable[bool]]
MAX_PROBED = 64
"""Devices that are probed at the same time."""


class EvidenceCommands:
    """Answers from the collected evidence, after a fresh reading of the counters."""

    def __init__(
        self,
        decider: Decider,
        evidence_collector: EvidenceCollector,
        files: PolicyFiles,
        count: Count,
        probe: Probe,
        recount: Callable[[], Awaitable[None]],
    ) -> None:
        """``recount``: reads the counters, at most once a second."""
        self._recount = recount
        self._decider = decider
        self._environment = decider.environment
        self._evidence = evidence_collector
        self._files = files
        self._count = count
        self._probe = probe

    async def evidence(self) -> list[api.Evidence]:
        """Evidence by device and port."""
        await self._fresh()
        table = self._evidence.table
        return [self._shown(table.openings[opening]) for opening in sorted(table.openings)]

    async def traffic(self, mapping_id: str) -> api.Traffic | None:
        """After a reading of the counters; None: there is no such mapping."""
        await self._recount()
        mapping = self._decider.ledger.table.get(mapping_id)
        if mapping is None:
            return None
        wall = self._environment.clock().wall
        return api.Traffic(
            slot_s=SLOT_S,
            ends_at=api.moment((slot_of(wall) + 1) * SLOT_S),
            bytes=self._evidence.traffic.of(opening_of(mapping), wall),
        )

    async def suggest(self, body: api.AskSuggestion) -> api.Suggestion | api.Problem:
        await self._fresh()
        learnt = self._learnt(body)
        if isinstance(learnt, api.Problem):
            return learnt
        try:
            made = await asyncio.to_thread(self._suggest, learnt)
        except ConfigError as error:
            return api.Problem(error="policy", message=f"the policy files have an error: {error}")
        return api.Suggestion(toml=made.toml, grants=made.grants, tests=made.tests, notes=list(made.notes))

    async def stale(self, body: api.StaleFilter) -> list[api.Stale]:
        await self._fresh()
        now = self._environment.clock()
        table = self._evidence.table
        await self._probe_silent(now.wall - body.days * DAY_S)
        rows = [(mapping, self._usage(mapping)) for mapping in self._decider.ledger.table]
        policy, lans = self._decider.in_force.policy, self._environment.network.lan_names
        found = find_stale(policy, table, rows, now.wall, local_today(now.wall), body.days, lans)
        return [
            api.Stale(
                kind=one.kind.value,
                about=one.about,
                finding=one.finding,
                since=api.moment(one.since) if one.since is not None else None,
            )
            for one in found
        ]

    # -- how

    async def _fresh(self) -> None:
        try:
            await self._count(True)
        except FirewallError as error:
            log.warning("cannot read the counters: %s", error)

    def _suggest(self, learnt: Learned) -> Suggestion:
        """Runs in a thread: a large policy takes a second."""
        operator = self._files.operator
        text = read_text(operator) if operator is not None else None
        lists = ListFiles(operator.parent) if operator is not None else NO_LISTS
        today = local_today(self._environment.clock().wall)
        return suggest_policy(text, self._decider.in_force.approved, learnt, today, lists)

    def _learnt(self, body: api.AskSuggestion) -> Learned | api.Problem:
        policy, wall = self._decider.in_force.policy, self._environment.clock().wall
        if body.listeners is None:
            return learn(policy, self._evidence.table, wall, body.min_days, self._environment.network.main_lan)
        listeners = [Listener(one.transport, one.port, one.program) for one in body.listeners]
        if body.device is not None:
            if body.device not in policy.devices:
                return api.Problem(
                    error="invalid", message="the policy has no device with this name", field="device"
                )
            return learn_from(listeners, body.device)
        address = ip_address(body.host or "")
        network = self._environment.network
        host = device_of(network, self._environment.neighbours, address)
        name = name_of(policy, host.device, network.main_lan, address)
        if name is not None:
            return learn_from(listeners, name, [address.version])
        name = free_name(f"host-{address}", policy.devices)
        learnt = learn_from(listeners, name, [address.version])
        learnt.devices[name] = {"mac": [host.mac]} if host.mac else {"ip": [str(address)]}
        if host.mac and host.lan != network.main_lan:
            learnt.devices[name]["lan"] = [host.lan]
        return learnt

    async def _probe_silent(self, since: float) -> None:
        """Probes devices without requests: a device that answers is not absent."""
        table, environment = self._evidence.table, self._environment
        network = environment.network
        named = {
            device.name: ids_of(device, network.lan_names)
            for device in self._decider.in_force.policy.devices.values()
        }
        silent = [
            neighbour
            for device in self._decider.in_force.policy.devices.values()
            if all(table.devices[i].last_seen <= since for i in named[device.name] if i in table.devices)
            for neighbour in environment.neighbours.all()
            if environment.name_of(neighbour) in named[device.name] or neighbour.address in device.addresses
        ][:MAX_PROBED]
        answers = await asyncio.gather(
            *(self._probe(neighbour.address, neighbour.interface) for neighbour in silent), return_exceptions=True
        )
        for neighbour, answer in zip(silent, answers, strict=True):
            if answer is True:
                own = environment.name_of(neighbour)
                for device in (own, str(neighbour.address)):
                    if device in table.devices or device == own:
                        self._evidence.saw(device, environment.clock().wall)

    def _usage(self, mapping: Mapping) -> Usage:
        """Its usage; the last use is from the evidence, which survives restarts."""
        row = self._evidence.table.openings.get(opening_of(mapping))
        usage = self._decider.ledger.usage_of(mapping)
        return usage if row is None else replace(usage, last_used=row.last_used)

    def _is_pinhole(self, opening: EvidenceKey) -> bool:
        network, address = self._environment.network, parse_address(opening.device)
        if opening.family == 6 or address is None:
            lan = lan_of(opening.device) or network.main_lan
            return opening.family == 6 or lan in network.without_nat
        return not network.translates(address)

    def _shown(self, row: Evidence) -> api.Evidence:
        opening = row.opening
        return api.Evidence(
            device=opening.device,
            device_name=name_of(self._decider.in_force.policy, opening.device, self._environment.network.main_lan),
            transport=opening.transport,
            kind=MappingKind.PINHOLE if self._is_pinhole(opening) else MappingKind.PORT_MAPPING,
            family="ip6" if opening.family == 6 else "ip4",
            internal_port=opening.port,
            requests=row.requests,
            refused=row.refused,
            ungranted=row.ungranted,
            renewals=row.renewals,
            granted_s=int(row.granted_s),
            connections=row.connections,
            bytes=row.bytes,
            days=len(row.days),
            remotes=sorted(map(str, row.remotes)),
            more_remotes=row.more_remotes,
            first_asked=api.moment(row.first_asked),
            last_asked=api.moment(row.last_asked),
            last_used=api.moment(row.last_used) if row.last_used is not None else None,
        )
