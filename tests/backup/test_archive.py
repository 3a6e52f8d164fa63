"""The file: any program reads it, and a file from elsewhere with anything else in it is refused."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from tests.fixtures.backups import backup_bytes, make_state, members, packed, tar_of
from upnp_gw.backup.archive import unpack
from upnp_gw.backup.manifest import APPROVED, LEDGER, MANIFEST, POLICY, Manifest, parse_manifest
from upnp_gw.backup.problem import BackupProblem
from upnp_gw.store.schema import SCHEMA_VERSION
from upnp_gw.system.files import FileProblem


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return backup_bytes(make_state(tmp_path_factory.mktemp("d") / "state"), policy="version = 1\n")


def unpacked(data: bytes, directory: Path) -> Manifest:
    return unpack(
        io.BytesIO(data),
        lambda text: parse_manifest(text, SCHEMA_VERSION),
        lambda manifest: {name: directory / name for name in manifest.parts},
    )


def test_any_program_reads_it_and_its_members_come_back(data: bytes, tmp_path: Path) -> None:
    found = members(data)
    assert list(found) == [MANIFEST, LEDGER, APPROVED, POLICY]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {(member.mode, member.uid) for member in tar} == {(0o600, 0)}
    manifest = unpacked(data, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in manifest.parts} == {
        name: content for name, content in found.items() if name != MANIFEST
    }
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in manifest.parts} == {0o600}


def member(name: str, kind: bytes, data: bytes, link: str = "") -> bytes:
    """A tar whose second member is of another kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        head = tarfile.TarInfo(MANIFEST)
        text = members(data)[MANIFEST]
        head.size = len(text)
        tar.addfile(head, io.BytesIO(text))
        other = tarfile.TarInfo(name)
        other.type, other.linkname = kind, link
        tar.addfile(other)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.XHDTYPE]
)
def test_only_regular_members_are_accepted(data: bytes, tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(BackupProblem, match=r"not a regular file|header"):
        unpacked(member(LEDGER, kind, data, "/etc/passwd"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../ledger.db", "/etc/shadow", "./ledger.db", "x/../ledger.db", "ledger.db\n", "a"]
)
def test_no_name_of_the_file_is_used_as_a_path(data: bytes, tmp_path: Path, name: str) -> None:
    found = members(data)
    files = [(MANIFEST, found[MANIFEST]), (name, found[LEDGER])]
    with pytest.raises(BackupProblem, match="missing"):
        unpacked(tar_of(files), tmp_path)
    parts = {MANIFEST: found[MANIFEST], name: found[LEDGER]}
    with pytest.raises(BackupProblem, match="the manifest names other parts"):
        unpacked(packed(parts), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_cut_short_is_refused_wherever_the_cut_is(data: bytes, tmp_path: Path) -> None:
    for end in [*range(0, 4096, 97), *range(4096, len(data) - 1024, 4099), len(data) - 1025]:
        with pytest.raises(BackupProblem):
            unpacked(data[:end], tmp_path)


def test_a_changed_byte_is_found(data: bytes, tmp_path: Path) -> None:
    at = data.index(b"SQLite format 3") + 5000
    with pytest.raises(BackupProblem, match=r"ledger.db is damaged: its checksum"):
        unpacked(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], tmp_path)
    assert LEDGER in {path.name for path in tmp_path.iterdir()}, "the caller removes it"


def test_more_members_than_the_manifest_names_are_refused(data: bytes, tmp_path: Path) -> None:
    files = list(members(data).items())
    for more in ([*files, ("x", b"y")], [*files, files[1]], [files[0], files[1], files[1], *files[2:]]):
        with pytest.raises(BackupProblem):
            unpacked(tar_of(more), tmp_path)


@pytest.mark.parametrize("size", [-1, 2**63, 8 * 1024**3, "4", None, 1.5])
def test_sizes_that_no_part_has_are_refused(data: bytes, tmp_path: Path, size: object) -> None:
    parts = members(data)
    wrong = {LEDGER: {"size": size, "sha256": ""}}
    with pytest.raises(BackupProblem):
        unpacked(packed(parts, parts=wrong), tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"\0" * 10240, id="an empty tar"),
        pytest.param(gzip.compress, id="compressed"),
        pytest.param(lambda data: members(data)[LEDGER], id="the database alone"),
        pytest.param(lambda data: tar_of(list(members(data).items())[1:]), id="without a manifest"),
        pytest.param(lambda data: tar_of([(MANIFEST, b"[]")]), id="a manifest of another shape"),
        pytest.param(lambda data: tar_of([(MANIFEST, b"[" * 60000)]), id="a manifest that is nested deeply"),
        pytest.param(lambda data: tar_of([(MANIFEST, b"{}" + b" " * 70000)]), id="a long manifest"),
    ],
)
def test_another_file_is_no_backup(data: bytes, tmp_path: Path, other: object) -> None:
    with pytest.raises(BackupProblem, match=r"not a backup of upnp-gw|cut short"):
        unpacked(other(data), tmp_path)  # type: ignore[operator]


@pytest.mark.parametrize("newer", [{"format": 2}, {"schema": SCHEMA_VERSION + 1}, {"format": 9, "parts": 3}])
def test_a_backup_of_a_newer_version_is_refused_with_its_version(
    data: bytes, tmp_path: Path, newer: dict[str, object]
) -> None:
    with pytest.raises(BackupProblem, match=r"made by a newer upnp-gw \(7\.0, .*install that version"):
        unpacked(packed(members(data), version="7.0", **newer), tmp_path)


def test_fields_of_a_later_version_are_ignored(data: bytes, tmp_path: Path) -> None:
    assert unpacked(packed(members(data), more="x"), tmp_path).format == 1


def test_a_disk_without_room_leaves_no_part(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(FileProblem):
        unpack(
            io.BytesIO(data),
            lambda text: parse_manifest(text, SCHEMA_VERSION),
            lambda manifest: dict.fromkeys(manifest.parts, tmp_path / "missing" / "x"),
        )
