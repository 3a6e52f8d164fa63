"""Files are written whole or not at all, with copies."""

from datetime import UTC, datetime
from pathlib import Path

from upnp_gw.setup.files import Change, write

NOW = datetime(2026, 5, 1, 10, 15, tzinfo=UTC)


def test_a_changed_file_has_a_copy_with_the_time_in_its_name(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("old")
    (copy,) = write([Change(file, "old", "new")], NOW)
    assert (file.read_text(), copy.read_text(), copy.name) == ("new", "old", "config.toml.2026-05-01-101500")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", copy.name]
