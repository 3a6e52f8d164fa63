"""The tests mirror the package: a module has the test file of its name, or is in the list of this file."""

import ast
from pathlib import Path

import pytest

from tests import ROOT

PACKAGE, TESTS = ROOT / "upnp_gw", ROOT / "tests"
COVERED_ELSEWHERE = {
    "api/decisions.py": "cli/test_explain.py",
    "api/devices.py": "control/test_devices.py",
    "api/evidence.py": "control/test_evidence.py",
    "api/mappings.py": "control/test_server.py",
    "api/problems.py": "control/test_field_errors.py",
    "api/routes.py": "control/test_server.py",
    "api/values.py": "control/test_field_errors.py",
    "cli/client.py": "cli/test_terminal.py",
    "cli/demo.py": "lab/test_demo.py",
    "cli/demo_report.py": "lab/test_demo.py",
    "cli/holder.py": "cli/test_mappings.py",
    "cli/incidents.py": "cli/test_devices.py",
    "cli/lab.py": "lab/program/test_run.py",
    "cli/lab_gateway.py": "lab/program/test_run.py",
    "cli/page.py": "page/test_process.py",
    "cli/parameters.py": "cli/test_argument_errors.py",
    "cli/queue.py": "cli/test_devices.py",
    "cli/schema.py": "control/test_server.py",
    "cli/table.py": "cli/test_mappings.py",
    "cli/uninstall.py": "cli/test_run.py",
    "client/ask.py": "lab/test_request.py",
    "client/datagram.py": "lab/test_request.py",
    "client/epoch.py": "client/test_dialogues.py",
    "client/hold.py": "lab/test_request.py",
    "client/listening.py": "client/test_times.py",
    "client/mapping_request.py": "client/test_dialogues.py",
    "client/natpmp.py": "client/test_dialogues.py",
    "client/options.py": "cli/test_request.py",
    "client/pcp.py": "client/test_dialogues.py",
    "client/route.py": "client/test_times.py",
    "client/schedule.py": "client/test_times.py",
    "client/secret.py": "client/test_times.py",
    "composition.py": "testing/test_emulator.py",
    "config/values.py": "config/test_error_messages.py",
    "control/build.py": "control/test_on_demand.py",
    "control/dry_run.py": "cli/test_explain.py",
    "control/operator.py": "cli/test_explain.py",
    "control/policy.py": "engine/test_policy_reload.py",
    "control/replay.py": "cli/test_explain.py",
    "control/serialize.py": "control/test_devices.py",
    "control/socket_path.py": "control/test_server.py",
    "daemon.py": "lab/test_stop.py",
    "doctor/holders.py": "doctor/test_inspection.py",
    "doctor/machine_state.py": "doctor/test_checks.py",
    "doctor/search.py": "doctor/test_inspection.py",
    "engine/build.py": "engine/test_gateway.py",
    "engine/datagram_requests.py": "protocols/pcp/test_map.py",
    "engine/decider.py": "engine/test_one_gate.py",
    "engine/delete_any_protocol.py": "engine/test_deletes.py",
    "engine/device_persistence.py": "engine/test_stored_devices.py",
    "engine/epoch.py": "protocols/pcp/test_map.py",
    "engine/obstacles.py": "engine/test_reserved_ports.py",
    "engine/operator_question.py": "control/test_devices.py",
    "engine/other_tables.py": "engine/test_reserved_ports.py",
    "engine/persistence.py": "engine/test_gateway.py",
    "engine/policy_in_force.py": "engine/test_policy_reload.py",
    "engine/reevaluation.py": "engine/test_gateway.py",
    "engine/requests.py": "engine/test_gateway.py",
    "engine/usage_reader.py": "engine/test_evidence_collector.py",
    "engine/write_backlog.py": "engine/test_gateway.py",
    "engine/writer.py": "engine/test_gateway.py",
    "firewall/base.py": "firewall/test_contract.py",
    "firewall/conntrack_timeouts.py": "firewall/test_lease_ends.py",
    "firewall/flows.py": "firewall/test_conntrack.py",
    "firewall/labels.py": "firewall/test_conntrack.py",
    "firewall/memory.py": "firewall/test_contract.py",
    "firewall/netlink.py": "firewall/test_conntrack.py",
    "firewall/nftables/anycast.py": "lab/test_pcp_anycast.py",
    "firewall/nftables/backend.py": "firewall/test_lifecycle.py",
    "firewall/nftables/chains.py": "firewall/nftables/test_ruleset_delta.py",
    "firewall/nftables/counters.py": "firewall/test_contract.py",
    "firewall/nftables/element_edits.py": "firewall/nftables/test_ruleset_delta.py",
    "firewall/nftables/element_text.py": "firewall/nftables/test_element_messages.py",
    "firewall/nftables/elements.py": "firewall/nftables/test_ruleset_delta.py",
    "firewall/nftables/overlay.py": "firewall/nftables/test_ruleset_delta.py",
    "firewall/nftables/refill.py": "firewall/nftables/test_ruleset_delta.py",
    "firewall/nftables/ruleset.py": "firewall/nftables/test_ruleset_delta.py",
    "firewall/nftables/sysctl.py": "firewall/test_lifecycle.py",
    "firewall/nftables/totals.py": "firewall/nftables/test_growth.py",
    "firewall/other_tables/index.py": "firewall/other_tables/test_drops.py",
    "firewall/other_tables/matching.py": "firewall/other_tables/test_drops.py",
    "firewall/other_tables/remedies.py": "firewall/other_tables/test_drops.py",
    "firewall/other_tables/walk.py": "firewall/other_tables/test_listing.py",
    "gate/accepted.py": "config/test_error_messages.py",
    "gate/build.py": "gate/test_load.py",
    "gate/decide_removal.py": "engine/test_deletes.py",
    "gate/device_entry.py": "engine/test_stored_devices.py",
    "gate/match.py": "gate/test_decide.py",
    "gate/operator_rules.py": "control/test_devices.py",
    "gate/policyfile.py": "gate/test_load.py",
    "gate/question.py": "gate/test_approval_queue.py",
    "gate/rules.py": "gate/test_load.py",
    "gate/schema.py": "gate/test_decide.py",
    "gate/values.py": "gate/test_load.py",
    "lab/control_point.py": "lab/test_approval.py",
    "lab/control_socket.py": "lab/test_end_to_end_events.py",
    "lab/daemon.py": "lab/test_stop.py",
    "lab/demo/office.py": "lab/test_demo.py",
    "lab/demo/play.py": "lab/test_demo.py",
    "lab/demo/rehearsal.py": "lab/test_demo.py",
    "lab/demo/report.py": "lab/test_demo.py",
    "lab/demo/stage.py": "lab/test_demo.py",
    "lab/demo/steps.py": "lab/test_demo.py",
    "lab/enter.py": "lab/test_user_namespace.py",
    "lab/host.py": "lab/test_lab.py",
    "lab/machine.py": "lab/test_privilege.py",
    "lab/probe.py": "lab/test_lab.py",
    "lab/program/capture.py": "lab/program/test_run.py",
    "lab/program/leftover.py": "lab/program/test_run.py",
    "lab/program/openings.py": "lab/program/test_run.py",
    "lab/program/report.py": "cli/test_lab_report.py",
    "lab/topology.py": "lab/test_lab.py",
    "ledger/charges.py": "engine/test_full_quota.py",
    "ledger/conflicts.py": "ledger/test_forwards.py",
    "ledger/events.py": "engine/test_gateway.py",
    "ledger/igd_view.py": "engine/test_gateway.py",
    "ledger/row_index.py": "ledger/test_table.py",
    "ledger/transaction.py": "engine/test_undone.py",
    "model/errors.py": "config/test_error_messages.py",
    "model/mapping.py": "ledger/test_leases.py",
    "model/prefixes.py": "model/test_network.py",
    "model/records.py": "engine/test_audit.py",
    "model/request.py": "engine/test_one_gate.py",
    "page/operator_part.py": "page/test_process.py",
    "page/overview.py": "page/test_process.py",
    "page/rendering.py": "page/test_process.py",
    "page/views.py": "page/test_process.py",
    "protocols/igd/descriptors.py": "protocols/igd/test_description.py",
    "protocols/igd/engine.py": "protocols/igd/test_port_mappings.py",
    "protocols/igd/evented.py": "protocols/gena/test_evented.py",
    "protocols/igd/layer3_forwarding.py": "protocols/igd/test_status.py",
    "protocols/igd/model.py": "protocols/igd/test_scpd.py",
    "protocols/igd/port_listing.py": "protocols/igd/test_port_mappings.py",
    "protocols/igd/wan_common_interface_config.py": "protocols/igd/test_status.py",
    "protocols/igd/wan_ip_connection.py": "protocols/igd/test_status.py",
    "protocols/igd/wan_ipv6_firewall_control.py": "protocols/igd/test_pinholes.py",
    "protocols/igd_services.py": "protocols/igd/test_descriptions.py",
    "protocols/natpmp/mapping.py": "protocols/natpmp/test_conversations.py",
    "protocols/pcp/address.py": "protocols/pcp/test_codec.py",
    "protocols/pcp/mapping.py": "protocols/pcp/test_map.py",
    "protocols/pcp/messages.py": "protocols/pcp/test_codec.py",
    "protocols/pcp/options.py": "protocols/pcp/test_codec.py",
    "protocols/port5351.py": "servers/port5351/test_server.py",
    "protocols/ssdp/targets.py": "protocols/ssdp/test_search.py",
    "protocols/xml.py": "protocols/igd/test_soap.py",
    "servers/http/answers.py": "servers/http/test_recorded.py",
    "servers/http/connection.py": "servers/http/test_limits.py",
    "servers/http/control.py": "servers/http/test_server.py",
    "servers/http/framing.py": "servers/http/test_raw.py",
    "servers/http/host_header.py": "servers/http/test_server.py",
    "servers/http/listeners.py": "servers/http/test_server.py",
    "servers/http/peers.py": "servers/http/test_server.py",
    "servers/http/routes.py": "servers/http/test_server.py",
    "servers/http/transport.py": "servers/http/test_limits.py",
    "servers/lan.py": "lab/test_end_to_end_network.py",
    "servers/port5351/limits.py": "servers/port5351/test_server.py",
    "servers/port5351/mapping_updates.py": "servers/port5351/test_server.py",
    "servers/port5351/socket.py": "servers/port5351/test_server.py",
    "servers/ssdp/socket.py": "servers/ssdp/test_server.py",
    "servers/udp/options.py": "servers/udp/test_filter.py",
    "servers/udp/socket.py": "servers/port5351/test_server.py",
    "servers/udp/sockets.py": "servers/port5351/test_server.py",
    "servers/wire.py": "testing/test_emulator.py",
    "store/device_rows.py": "store/test_store.py",
    "store/evidence_rows.py": "ledger/test_evidence.py",
    "store/high_water.py": "store/test_missing_history.py",
    "store/highest_numbers.py": "store/test_store.py",
    "store/mapping_rows.py": "store/test_store.py",
    "store/policy_rows.py": "engine/test_kept_policies.py",
    "suggest/grants.py": "suggest/test_document.py",
    "suggest/needs.py": "suggest/test_document.py",
    "system/address_contests.py": "system/test_address_holders.py",
    "system/address_query.py": "system/test_address_holders.py",
    "system/link_state.py": "system/test_rtnetlink.py",
    "system/network_monitor.py": "lab/test_network_monitor.py",
    "system/rtnetlink_socket.py": "lab/test_network_monitor.py",
    "system/sock_diag.py": "system/test_listening_ports.py",
    "system/socket_filter.py": "servers/udp/test_filter.py",
    "system/who_has.py": "lab/test_who_has.py",
    "testing/clock.py": "testing/test_emulator.py",
    "testing/datagram_sockets.py": "testing/test_emulator.py",
    "testing/fault.py": "testing/test_http_faults.py",
    "testing/fault_in_force.py": "testing/test_emulator.py",
    "testing/faults/answers.py": "testing/test_emulator.py",
    "testing/faults/events.py": "testing/test_events.py",
    "testing/faults/http_shapes.py": "testing/test_http_faults.py",
    "testing/faults/wan.py": "testing/test_catalogue.py",
    "testing/gateway.py": "testing/test_emulator.py",
    "testing/http_connection.py": "testing/test_emulator.py",
    "testing/journal.py": "testing/test_emulator.py",
    "testing/mappings.py": "testing/test_emulator.py",
    "testing/outcomes.py": "testing/test_emulator.py",
    "testing/personalities.py": "testing/test_catalogue.py",
    "testing/records.py": "testing/test_emulator.py",
    "testing/registry.py": "testing/test_fault_option.py",
    "testing/rules.py": "testing/test_fault_option.py",
}
"""Module -> the test file that covers it, where that is not the one of its name."""


def has_behaviour(module: Path) -> bool:
    """True if the module defines a function or a method: a module of types and constants needs no test."""
    nodes = ast.walk(ast.parse(module.read_text("utf-8")))
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes)


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def own_test(module: Path) -> Path:
    return (TESTS / module.relative_to(PACKAGE)).with_name(f"test_{module.name}")


MODULES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py") and has_behaviour(path)
]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_with_behaviour_has_a_test_file(module: Path) -> None:
    name = name_of(module)
    if own_test(module).exists():
        assert name not in COVERED_ELSEWHERE, "it has a test file of its name: remove the line"
        return
    assert name in COVERED_ELSEWHERE, f"write {own_test(module).relative_to(ROOT)}, or name the file that covers it"
    assert (TESTS / COVERED_ELSEWHERE[name]).exists(), f"there is no tests/{COVERED_ELSEWHERE[name]}"


def test_the_list_names_modules_that_exist() -> None:
    assert COVERED_ELSEWHERE.keys() <= {name_of(module) for module in MODULES}
