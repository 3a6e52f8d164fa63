"""Stored mappings that a start leaves unchanged: nearly all of them, and there can be tens of thousands.

Every row passes ``decide``. The facts are gathered once for each host, since they depend on the row only for its
quotas, which do not apply at a start. An unchanged row keeps its decision and is not written.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.environment import Environment
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, Outcome, Verdict
from upnp_gw.gate.schema import OPERATOR_RULE
from upnp_gw.ledger.filters import granted_prefixes
from upnp_gw.ledger.leases import with_renewal
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Instant, IPAddress, Mapping, Via
from upnp_gw.model.request import MapRequest, PortChoice, Source


class _Hosts(NamedTuple):
    """The part of a row on which its facts depend at a start, apart from its quotas."""

    device: str
    address: IPAddress
    internal_client: IPAddress
    delegated: bool
    operator: bool
    datagram: bool


class UnchangedRows:
    """Decides about the rows of one start."""

    def __init__(
        self,
        decider: Decider,
        transaction: Transaction,
        facts_of: Callable[[MapRequest, Mapping], Facts],
    ) -> None:
        """``facts_of`` gathers the facts of a start about a row."""
        self._policy = decider.in_force.policy
        self._environment = decider.environment
        self._transaction = transaction
        self._facts_of = facts_of
        self._facts: dict[_Hosts, Facts] = {}

    def keep(self, mapping: Mapping) -> bool:
        """Sets the row's next check, if the policy in force allows the row as it is. False: nothing is done."""
        ledger = self._transaction.ledger
        if mapping.permanent or ledger.cuts.unneeded_after(mapping):  # the store has to know
            return False
        request = request_of(self._environment, mapping, self._transaction.now)
        verdict = decide(self._policy, self._gathered(request, mapping), request)
        row = renewed(mapping, verdict, request, self._transaction.now)
        if (
            row is None
            or (row.filters, row.screen) != (mapping.filters, mapping.screen)
            or (verdict.rule or OPERATOR_RULE) != mapping.rule
        ):
            return False
        ledger.table.put_times(row)
        return True

    def _gathered(self, request: MapRequest, mapping: Mapping) -> Facts:
        via, source = request.via, request.source.address
        client, delegated = mapping.internal.address, mapping.delegated
        hosts = _Hosts(mapping.device, source, client, delegated, via is Via.OPERATOR, via.datagram)
        facts = self._facts.get(hosts)
        if facts is None:
            facts = self._facts[hosts] = self._facts_of(request, mapping)
        return facts


def request_of(environment: Environment, mapping: Mapping, now: Instant) -> MapRequest:
    """The request that would make this mapping as it is."""
    hold = max(mapping.holds, key=lambda h: (h.via is Via.OPERATOR, h.until))
    source = environment.address_of(mapping)
    return MapRequest(
        via=hold.via,
        source=Source(source, ""),
        transport=mapping.key.transport,
        internal=mapping.internal,
        external_port=mapping.key.external_port,
        choice=PortChoice.EXACT,
        lifetime_s=max(1, round(mapping.until - now.boot)),
        remote=mapping.key.remote,
        remote_port=mapping.key.remote_port,
        external_address=mapping.key.external_address if mapping.internal.address.version == 4 else None,
        enabled=mapping.enabled,
        permanent=mapping.permanent,
        filters=mapping.requested_filters,
    )


def renewed(mapping: Mapping, verdict: Verdict, request: MapRequest, now: Instant) -> Mapping | None:
    """The mapping under a new verdict; None if the verdict refuses it."""
    if verdict.outcome is not Outcome.ALLOW or verdict.clamps is None:
        return None
    again, filters = with_renewal(mapping, verdict.clamps, now), granted_prefixes(verdict.clamps, request)
    screen = verdict.clamps.screen
    if (again.filters, again.screen) == (filters, screen):
        return again
    return replace(again, filters=filters, screen=screen)
