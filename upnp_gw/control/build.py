"""Builds the control server with all its commands. ``on_demand`` loads this module."""

from upnp_gw.control.devices import DeviceCommands
from upnp_gw.control.evidence import EvidenceCommands
from upnp_gw.control.on_demand import Commanded
from upnp_gw.control.operator import DaemonInfo, GatewayOperator
from upnp_gw.control.policy import PolicyCommands
from upnp_gw.control.server import ControlServer
from upnp_gw.control.socket_path import Claim


def control_server(claim: Claim, parts: Commanded) -> ControlServer:
    """The server of a claimed socket, not started yet."""
    config, updates = parts.config, parts.policy_updates
    info = DaemonInfo(
        config=config,
        detected=parts.detected,
        started=parts.started,
        policy_source=lambda: updates.files.source,
        policy_problem=lambda: updates.problem,
        locations=parts.locations,
        obstacles=parts.obstacles,
        counters=parts.counters,
        doctor=parts.doctor,
    )
    operator = GatewayOperator(parts.gateway, parts.decider, parts.events, parts.store, info)
    more = [
        DeviceCommands(parts.gateway, parts.decider, updates, parts.probe, operator.shown),
        PolicyCommands(parts.gateway, parts.decider, parts.store, updates, operator.decision),
        EvidenceCommands(parts.decider, parts.evidence, updates.files, parts.count, parts.probe),
    ]
    return ControlServer(operator, config.runtime_dir, claim=claim, more=more)
