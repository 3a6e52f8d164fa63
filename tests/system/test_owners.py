"""A command of root acts as the owner of a directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from upnp_gw.system.owners import acting_as_owner, entered_as_owner, read_as_owner

OTHER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Of another user, where that user can reach it."""
    with TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        owned = Path(above) / "state"
        owned.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(owned, OTHER, OTHER)
        yield owned


@contextmanager
def noting(users: list[int]) -> Iterator[int]:
    users.append(os.geteuid())
    try:
        yield 7
    finally:
        users.append(os.geteuid())


def portions(users: list[int]) -> Iterator[bytes]:
    for portion in (b"a", b"b"):
        users.append(os.geteuid())
        yield portion


def test_of_an_own_directory_nothing_changes(tmp_path: Path) -> None:
    before = os.geteuid(), os.getegid()
    with acting_as_owner(tmp_path):
        assert (os.geteuid(), os.getegid()) == before


@as_root
def test_files_belong_to_the_owner_and_root_is_back_afterwards(directory: Path) -> None:
    def act() -> None:
        with acting_as_owner(directory):
            (directory / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        act()
    assert (directory / "file").stat().st_uid == OTHER
    assert (os.geteuid(), os.getegid()) == (0, 0)


@as_root
def test_a_link_to_a_file_of_root_is_not_written_through(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "of-root").write_text("x")
    (directory / "link").symlink_to(tmp_path / "of-root")
    with acting_as_owner(directory), pytest.raises(PermissionError):
        (directory / "link").write_text("y")


@as_root
def test_a_context_begins_and_ends_as_the_owner_and_portions_are_made_so(directory: Path) -> None:
    users = list[int]()
    with entered_as_owner(directory, noting(users)) as value:
        assert (value, os.geteuid()) == (7, 0)
    assert users == [OTHER, OTHER]
    with pytest.raises(KeyError), entered_as_owner(directory, noting(users)):
        raise KeyError
    users.clear()
    for portion in read_as_owner(directory, portions(users)):
        assert (portion, os.geteuid()) != (b"", OTHER)
    assert users == [OTHER, OTHER]
