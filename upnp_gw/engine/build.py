"""Builds the parts of the engine in order: each gets what it needs when it is built."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from upnp_gw.engine.contested_addresses import park_contested
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.device_persistence import DevicePersistence
from upnp_gw.engine.epoch import Epochs
from upnp_gw.engine.evidence_collector import EvidenceCollector
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.measurements import Measurements
from upnp_gw.engine.persistence import Persistence
from upnp_gw.engine.scheduler import Probe, Scheduler
from upnp_gw.engine.usage_reader import UsageReader
from upnp_gw.engine.writer import Writer
from upnp_gw.firewall.base import Firewall, FirewallSettings
from upnp_gw.ledger.events import Events
from upnp_gw.ledger.evidence import KEEP_S
from upnp_gw.store.store import Store

if TYPE_CHECKING:
    from upnp_gw.engine.leases_above import LeasesAbove
    from upnp_gw.model.above import GatewayAbove


@dataclass(frozen=True, slots=True)
class Engine:
    """Start ``gateway`` first, then ``scheduler``; stop them in the reverse order."""

    persistence: Persistence
    writer: Writer
    evidence_collector: EvidenceCollector
    usage_reader: UsageReader
    scheduler: Scheduler
    gateway: Gateway
    measurements: Measurements
    leases_above: "LeasesAbove | None" = None
    """None: no gateway above is asked."""


def build_engine(
    decider: Decider,
    firewall: Firewall,
    store: Store,
    events: Events,
    settings: Callable[[], FirewallSettings],
    probe: Probe,
    keep_evidence_s: float = KEEP_S,
    above: "GatewayAbove | None" = None,
    on_outermost: Callable[[IPv4Address], None] = lambda address: None,
) -> Engine:
    """The engine around a decider. ``settings`` gives those of the moment, ``probe`` asks if a host answers.
    ``on_outermost`` gets each new outermost address."""
    ledger, environment = decider.ledger, decider.environment
    clock = environment.clock
    measurements = Measurements()
    events.subscribe(measurements.on_event)
    persistence = Persistence(store, ledger, DevicePersistence(decider.history, decider.questions), clock)
    complete = partial(park_contested, decider)
    writer = Writer(ledger, firewall, persistence, events, settings, clock, measurements, complete)
    evidence_collector = EvidenceCollector(decider, store, keep_evidence_s)
    usage_reader = UsageReader(decider, firewall, evidence_collector, measurements)
    scheduler = Scheduler(decider, writer, probe, usage_reader)
    epochs = Epochs(ledger, store, clock, lambda: environment.network, persistence.one_writer)
    leases = None if above is None else _leases_above(decider, writer, events, above, on_outermost)
    gateway = Gateway(decider, persistence, writer, epochs, measurements, scheduler.sweep, leases)
    return Engine(persistence, writer, evidence_collector, usage_reader, scheduler, gateway, measurements, leases)


def _leases_above(
    decider: Decider,
    writer: Writer,
    events: Events,
    above: "GatewayAbove",
    on_outermost: Callable[[IPv4Address], None],
) -> "LeasesAbove":
    from upnp_gw.engine.asking_above import AskingAbove  # few gateways have one above
    from upnp_gw.engine.leases_above import LeasesAbove

    assert decider.above is not None, "its rules are there too"
    asking = AskingAbove(decider, writer.submit, decider.above, above)
    leases = LeasesAbove(decider, writer.submit, asking, above, on_outermost)
    events.subscribe(leases.on_event)
    return leases
