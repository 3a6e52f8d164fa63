"""Builds the control server with all its commands. ``on_demand`` loads this module."""

from upnp_gw.control.backup import BackupCommands
from upnp_gw.control.devices import DeviceCommands
from upnp_gw.control.erase import EraseCommands
from upnp_gw.control.evidence import EvidenceCommands
from upnp_gw.control.kernel_proof import KernelProofCommands
from upnp_gw.control.known_device import KnownDeviceCommands
from upnp_gw.control.leases import LeaseCommands
from upnp_gw.control.measurements import MeasurementCommands
from upnp_gw.control.on_demand import DaemonParts
from upnp_gw.control.operator import GatewayOperator
from upnp_gw.control.policy import PolicyCommands
from upnp_gw.control.serialize import Serializer
from upnp_gw.control.server import ControlServer
from upnp_gw.control.socket_path import Claim
from upnp_gw.control.targets import Targets


def control_server(claim: Claim, parts: DaemonParts) -> ControlServer:
    """The server of a claimed socket, not started yet."""
    updates = parts.policy_updates
    serializer = Serializer(parts.decider)
    targets = Targets(parts.decider, parts.probe)
    operator = GatewayOperator(parts, serializer)
    more = [
        DeviceCommands(parts.gateway, parts.decider, updates, parts.probe, serializer),
        KnownDeviceCommands(parts.decider, targets),
        PolicyCommands(parts.gateway, parts.decider, parts.store, updates, operator.decision),
        KernelProofCommands(parts),
        MeasurementCommands(parts, serializer),
        BackupCommands(parts),
        EraseCommands(parts, targets),
        LeaseCommands(parts),
        EvidenceCommands(parts.decider, parts.evidence, updates.files, parts.count, parts.probe, parts.recount),
    ]
    return ControlServer(
        operator, parts.config.runtime_dir, claim=claim, more=more, page_runs=parts.status_page.runs
    )
