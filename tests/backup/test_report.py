"""The operator sees what a file would open before it happens."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.fixtures.backups import OLD_RULES, RULES, UUID, backup_bytes, make_state, restore_of
from tests.fixtures.mapping_rows import NOW, mapping
from upnp_gw.backup.problem import BackupProblem
from upnp_gw.backup.rebuilding import Choice
from upnp_gw.backup.report import report_of
from upnp_gw.model.mapping import Hold, Via

LAN = (ip_network("192.168.77.0/24"),)


def test_mappings_of_the_operator_and_of_other_networks_are_marked(tmp_path: Path) -> None:
    own = mapping(2, 22, client="10.9.9.9", until=NOW.boot + 60).with_hold(Hold(Via.OPERATOR, NOW.boot + 600, None))
    data = backup_bytes(make_state(tmp_path / "old", [mapping(1), own, mapping(3, 8082, until=NOW.boot - 1)]))
    report = report_of(restore_of(tmp_path / "new", data), "", LAN)
    one, two = report.restored
    assert (one.operator, one.elsewhere, one.lease_left_s) == (False, False, 3600)
    assert (two.operator, two.elsewhere, two.internal_client, two.lease_left_s) == (True, True, "10.9.9.9", 600)
    assert report.ended == 1
    assert (report.uuid, report.decisions, report.devices, report.rules) == (UUID, 2, 1, RULES)


def test_a_rule_for_every_device_is_a_warning(tmp_path: Path) -> None:
    rules = RULES.replace('who = "console"', 'who = "*"').replace("[3074]", '["1-65535"]')
    data = backup_bytes(make_state(tmp_path / "old", rules=rules))
    with pytest.raises(BackupProblem, match="conflicts with the policy file"):
        restore_of(tmp_path / "home", data)  # the tests of the built-in policy fail with that rule
    policy = tmp_path / "policy.toml"
    policy.write_text("version = 1\n")
    report = report_of(restore_of(tmp_path / "new", data, policy=policy), "", LAN)
    assert "the grant console of its approved.toml is for EVERY device" in report.warnings[0]


def test_rules_that_end_and_another_policy_are_told(tmp_path: Path) -> None:
    data = backup_bytes(make_state(tmp_path / "old"), policy='version = 1\ndefault = "ask"\n')
    blocked = OLD_RULES + '[[forbid]]\nname = "tv"\nwho = "console"\n'
    report = report_of(restore_of(tmp_path / "new", data, Choice(identity=False)), blocked, LAN)
    assert report.lifted == ["tv"]
    assert "the policy file of this machine is not that of the backup" in report.warnings[-1]
    assert report.files == ["policy.toml"]
    assert report.uuid is None
