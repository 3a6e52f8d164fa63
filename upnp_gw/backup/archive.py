"""The file of a backup: a plain tar. It is written and read as a stream, in the order of ``manifest.PARTS``.

The reader takes regular members with the names and sizes of the manifest, in that order, and nothing else. It never
uses a name of the file as a path.
"""

import tarfile
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec

from upnp_gw.backup.manifest import MANIFEST, PARTS, Manifest, Part
from upnp_gw.backup.problem import BackupProblem
from upnp_gw.system.files import read_portions, write_portions

BLOCK = tarfile.BLOCKSIZE
PORTION = 1 << 18
"""Bytes that are read or written at a time."""
LARGEST_MANIFEST = 64 * 1024
LARGEST: Mapping[str, int] = dict(zip(PARTS, (8 * 1024**3 - 1, 4 << 20, 4 << 20, 1 << 20), strict=True))
"""Bytes of a member."""


def part_of(portions: Iterator[bytes]) -> Part:
    """Size and checksum of the content."""
    digest, size = sha256(), 0
    for portion in portions:
        digest.update(portion)
        size += len(portion)
    return Part(size, digest.hexdigest())


def portions_of(content: bytes | Path) -> Iterator[bytes]:
    """A content in portions. Raises FileProblem."""
    if isinstance(content, bytes):
        return iter((content,) if content else ())
    return read_portions(content, PORTION)


def written(manifest: Manifest, parts: Mapping[str, bytes | Path]) -> Iterator[bytes]:
    """The bytes of the file. Raises FileProblem."""
    at = int(manifest.made_at.timestamp())
    head = _encoded(manifest)
    yield _header(MANIFEST, len(head), at) + head + _padding(len(head))
    for name in PARTS:
        if name in parts:
            size = manifest.parts[name].size
            yield _header(name, size, at)
            yield from portions_of(parts[name])
            yield _padding(size)
    yield bytes(2 * BLOCK)


def file_size(manifest: Manifest) -> int:
    """Bytes of the whole file."""
    sizes = [len(_encoded(manifest)), *(part.size for part in manifest.parts.values())]
    return sum(BLOCK + size + len(_padding(size)) for size in sizes) + 2 * BLOCK


def unpack(
    file: BinaryIO, parse: Callable[[bytes], Manifest], path_of: Callable[[Manifest], Mapping[str, Path]]
) -> Manifest:
    """Reads the whole file. ``path_of``: the paths of new files for its parts; a part without one is only checked.

    ``parse`` raises BackupProblem for a manifest that is not accepted. Raises BackupProblem and FileProblem; some
    of the new files may exist then.
    """
    name, size = _member(file)
    if name != MANIFEST or not 0 <= size <= LARGEST_MANIFEST:
        raise BackupProblem("this is not a backup of upnp-gw: its first member is not a manifest")
    manifest = parse(b"".join(_content(file, size)))
    paths = path_of(manifest)
    for name in PARTS:
        if name in manifest.parts:
            _unpack_part(file, name, manifest.parts[name], paths.get(name))
    if _exactly(file, BLOCK) != bytes(BLOCK):
        raise BackupProblem("the file has more members than its manifest names")
    return manifest


def _unpack_part(file: BinaryIO, name: str, part: Part, path: Path | None) -> None:
    if not 0 <= part.size <= LARGEST[name]:
        raise BackupProblem(f"{name} has {part.size} bytes; accepted: at most {LARGEST[name]}")
    if _member(file) != (name, part.size):
        raise BackupProblem(f"the member {name} is missing, or has another size than in the manifest")
    digest = sha256()

    def checked() -> Iterator[bytes]:
        for portion in _content(file, part.size):
            digest.update(portion)
            yield portion

    if path is None:
        for _ in checked():
            pass
    else:
        write_portions(path, checked(), 0o600)
    if digest.hexdigest() != part.sha256:
        raise BackupProblem(f"{name} is damaged: its checksum is not that of the manifest")


def _member(file: BinaryIO) -> tuple[str, int]:
    """Name and size of the next member. Raises BackupProblem if it is not a regular file."""
    block = _exactly(file, BLOCK)
    try:
        member = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError):
        raise BackupProblem(
            "this is not a backup of upnp-gw, or it is damaged: a header is not one of tar"
        ) from None
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise BackupProblem("the file has a member that is not a regular file: a backup has none")
    return member.name, member.size


def _content(file: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left:
        portion = _exactly(file, min(PORTION, left))
        left -= len(portion)
        yield portion
    _exactly(file, len(_padding(size)))


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise BackupProblem("the file is cut short: copy it again")
    return data


def _encoded(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def _header(name: str, size: int, at: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, at, 0o600
    return member.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)
