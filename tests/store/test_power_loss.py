"""Power loss: whatever part of the write-ahead log reached the disk, the store is some moment of the past, whole.

SQLite's promise, put to the test with our schema and our pragmas. With ``synchronous=NORMAL`` the log is not synced
at each commit, so its tail may be missing, or torn, and nothing else is lost. How soon it is synced: test_syncing.
"""

import shutil
from pathlib import Path

import pytest

from tests.fixtures.mapping_rows import NOW, mapping
from tests.store.test_store import record
from upnp_gw.ledger.pending_cuts import cut_of
from upnp_gw.model.records import RecordFilter
from upnp_gw.store.store import Batch, Store

WAL_HEADER, FRAME_HEADER = 32, 24
Moment = tuple[tuple[tuple[str, int], ...], tuple[int, ...], tuple[str, ...]]


async def moment(store: Store) -> Moment:
    """Everything that must go together: rows with their holds, cuts, decisions."""
    rows, cuts = await store.load(NOW)
    records = await store.decisions(RecordFilter())
    return (
        tuple((row.mapping.id, row.mapping.key.external_port) for row in rows),
        tuple(cut.number for cut in cuts),
        tuple(record.id for record in records),
    )


class Past:
    """A store with a history, and what it held after each transaction."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ledger.db"
        self.moments: list[Moment] = []

    @property
    def log(self) -> Path:
        return self.path.with_name("ledger.db-wal")

    async def make(self) -> None:
        store = Store(self.path, "boot-1")
        await store.open()
        self.moments.append(await moment(store))
        for number in range(1, 31):
            batch = Batch(
                put=[(mapping(number, 8000 + number, description="x" * 200), number)],
                decisions=[record(number)],
            )
            if number % 3 == 0:
                batch.removed = [f"m{number - 1}"]
                batch.cuts_put = [cut_of(number, mapping(number - 1), "deleted", NOW.boot)]
            await store.write(batch, NOW)
            self.moments.append(await moment(store))
        # as the disk is at the moment of the loss: copied while the store is open
        kept = self.path.parent / "kept"
        kept.mkdir()
        for path in (self.path, self.log):
            shutil.copy(path, kept / path.name)
        await store.close()
        self.path = kept / "ledger.db"


@pytest.fixture
async def past(tmp_path: Path) -> Past:
    made = Past(tmp_path)
    await made.make()
    return made


def files_after_loss(past: Past, directory: Path, log: bytes) -> Path:
    """The files as they are after the loss."""
    directory.mkdir()
    shutil.copy(past.path, directory / "ledger.db")
    (directory / "ledger.db-wal").write_bytes(log)
    return directory / "ledger.db"


async def after_loss(past: Past, directory: Path, log: bytes) -> Moment:
    store = Store(files_after_loss(past, directory, log), "boot-2")
    await store.open()
    try:
        return await moment(store)
    finally:
        await store.close()


def frames(log: bytes) -> list[int]:
    """The end of each frame."""
    page = int.from_bytes(log[8:12], "big")
    return list(range(WAL_HEADER, len(log) + 1, FRAME_HEADER + page))


async def test_at_every_frame_the_log_ends_the_store_is_a_moment_of_the_past(past: Past, tmp_path: Path) -> None:
    log = past.log.read_bytes()
    ends = frames(log)
    assert len(ends) > 100
    found = [await after_loss(past, tmp_path / f"at-{end}", log[:end]) for end in ends]
    places = [past.moments.index(one) for one in found]
    assert places == sorted(places), "with more of the log it is a later moment"
    assert set(places) == set(range(len(past.moments))), "every transaction is one step"
    assert places[-1] == len(past.moments) - 1, "kill -9 loses nothing: the whole log is there"


@pytest.mark.parametrize("torn", ["half a frame", "zeros", "garbage"])
async def test_a_torn_frame_ends_the_history_there(past: Past, tmp_path: Path, torn: str) -> None:
    log = past.log.read_bytes()
    size = frames(log)[1] - frames(log)[0]
    for end in frames(log)[:-1:5]:
        rest = {"half a frame": log[end : end + size // 2], "zeros": bytes(size), "garbage": b"\xa5" * size}[torn]
        whole = past.moments.index(await after_loss(past, tmp_path / f"whole-{end}", log[:end]))
        assert past.moments.index(await after_loss(past, tmp_path / f"torn-{end}", log[:end] + rest)) == whole


async def test_a_page_that_never_arrived_ends_the_history_there(past: Past, tmp_path: Path) -> None:
    """The disk wrote later pages first: what follows a hole does not count."""
    log = past.log.read_bytes()
    ends = frames(log)
    for place in range(10, len(ends) - 1, 17):
        holed = log[: ends[place]] + bytes(ends[place + 1] - ends[place]) + log[ends[place + 1] :]
        whole = past.moments.index(await after_loss(past, tmp_path / f"whole-{place}", log[: ends[place]]))
        assert past.moments.index(await after_loss(past, tmp_path / f"holed-{place}", holed)) == whole


@pytest.mark.parametrize(("full", "level"), [(False, 1), (True, 2)], ids=["normal", "full"])
async def test_the_policy_of_syncing_is_as_configured(tmp_path: Path, full: bool, level: int) -> None:
    """NORMAL syncs at checkpoints, FULL at every commit: before the reply."""
    store = Store(tmp_path / "ledger.db", "boot-1", full)
    await store.open()
    assert await store._run(lambda: store._open_db.execute("PRAGMA synchronous").fetchone()) == (level,)
    assert await store._run(lambda: store._open_db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    await store.close()
