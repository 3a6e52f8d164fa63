"""Files are written whole or not at all, with copies of those that were there."""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from upnp_gw.setup import files
from upnp_gw.setup.files import Change, read_text, write
from upnp_gw.system.files import FileProblem

NOW = datetime(2026, 5, 1, 10, 15, tzinfo=UTC)
COPY = "config.toml.2026-05-01-101500"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text("old\n")
    file.chmod(0o640)
    return file


def test_a_changed_file_has_a_copy_with_the_time_in_its_name(config: Path) -> None:
    assert write([Change(config, "old\n", "new\n")], NOW) == [config.with_name(COPY)]
    assert (config.read_text(), config.with_name(COPY).read_text()) == ("new\n", "old\n")
    assert [stat.S_IMODE(path.stat().st_mode) for path in config.parent.iterdir()] == [0o640, 0o640]
    assert write([Change(config, "new\n", "newer\n")], NOW) == [config.with_name(f"{COPY}-2")], "in the same second"
    assert names(config.parent) == ["config.toml", COPY, f"{COPY}-2"]


def test_a_new_file_can_be_read_by_the_daemon_and_has_no_copy(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert write([Change(tmp_path / "etc/upnp-gw/config.toml", None, "new\n")], NOW) == []
    finally:
        os.umask(before)
    made = tmp_path / "etc/upnp-gw/config.toml"
    assert made.read_text() == "new\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made, made.parent)] == [0o644, 0o755]


@pytest.mark.skipif(
    os.geteuid() != 0 or Path("/proc/self/uid_map").read_text("ascii").split()[-1] == "1",
    reason="only root of a machine can give files away",
)
def test_the_owner_stays(config: Path) -> None:
    os.chown(config, 12, 34)
    write([Change(config, "old\n", "new\n")], NOW)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in config.parent.iterdir()} == {(12, 34)}


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "config.toml"
    link.parent.mkdir()
    link.symlink_to(config)
    write([Change(link, "old\n", "new\n")], NOW)
    assert link.is_symlink()
    assert config.read_text() == "new\n"
    assert names(config.parent) == ["config.toml", COPY, "elsewhere"]


def test_nothing_is_written_where_nothing_changes(config: Path) -> None:
    assert write([Change(config, "old\n", "old\n")], NOW) == []
    assert names(config.parent) == ["config.toml"]


def test_a_file_that_changed_meanwhile_is_not_overwritten(config: Path) -> None:
    config.write_text("of another terminal\n")
    with pytest.raises(FileProblem, match=r"changed since it was read; run setup again$"):
        write([Change(config, "old\n", "new\n")], NOW)
    fresh = config.with_name("policy.toml")
    fresh.write_text("of another terminal\n")
    with pytest.raises(FileProblem, match=r"policy\.toml: changed since it was read"):
        write([Change(fresh, None, "new\n")], NOW)
    assert names(config.parent) == ["config.toml", "policy.toml"]
    assert {path.read_text() for path in config.parent.iterdir()} == {"of another terminal\n"}


def failing(after: int, error: BaseException, function: Callable[..., None]) -> Callable[..., None]:
    calls = iter(range(1000))

    def fail(*given: object) -> None:
        if next(calls) == after:
            raise error
        function(*given)

    return fail


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", range(3))
def test_an_error_or_ctrl_c_before_the_end_leaves_all_as_it_was(
    config: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int
) -> None:
    """Three files are prepared: the new policy, the new configuration and the copy of the old one."""
    policy = config.with_name("policy.toml")
    monkeypatch.setattr(files, "_write_like", failing(after, error, files._write_like))
    wanted = FileProblem if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        write([Change(policy, None, "p\n"), Change(config, "old\n", "new\n")], NOW)
    assert names(config.parent) == ["config.toml"]
    assert config.read_text() == "old\n"


def test_remains_of_a_killed_run_are_no_hindrance(config: Path) -> None:
    config.with_name(".config.toml.setup").write_text("half")
    write([Change(config, "old\n", "new\n")], NOW)
    assert names(config.parent) == ["config.toml", COPY]


def test_texts_are_read_or_the_problem_is_named(config: Path, tmp_path: Path) -> None:
    assert read_text(config) == "old\n"
    assert read_text(tmp_path / "none") is None
    config.write_bytes(b"caf\xe9")
    with pytest.raises(FileProblem, match="not UTF-8 at byte 3"):
        read_text(config)
    with pytest.raises(FileProblem, match="a directory"):
        read_text(tmp_path)


def test_a_change_is_shown_as_a_difference_and_a_new_file_whole() -> None:
    path = Path("/etc/upnp-gw/config.toml")
    assert Change(path, None, "a\nb\n").lines() == ["a", "b"]
    assert Change(path, "a\nb\n", "a\nc\n").lines() == [
        "--- /etc/upnp-gw/config.toml",
        "+++ /etc/upnp-gw/config.toml (new)",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
