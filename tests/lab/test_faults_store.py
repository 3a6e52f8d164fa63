"""The disk is full, read-only, failing, damaged: in a lab with the real daemon and a small file system."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import TCP
from tests.lab.igd_control_point import refused
from tests.soak.household import Household, household
from upnp_gw.lab.daemon import DaemonFailed
from upnp_gw.lab.probe import EchoServer, dial

pytestmark = pytest.mark.lab


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Household]:
    with household(tmp_path) as home:
        yield home


def stored_ports(home: Household, directory: Path) -> list[int]:
    """The external ports of a store, as the gateway's own mount namespace sees it."""
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]);"
        "print(*[row[0] for row in db.execute('SELECT external_port FROM mappings ORDER BY 1')])"
    )
    listed = home.gateway.run(["python3", "-c", script, str(directory / "ledger.db")]).stdout
    return [int(port) for port in listed.split()]


class Volume:
    """The state directory on a file system of 2 MB, in the mount namespace of the gateway alone."""

    def __init__(self, home: Household) -> None:
        self._home = home
        self._path = home.daemon.state_dir
        home.daemon.stop()
        home.gateway.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(self._path)])
        home.daemon.start()

    def fill(self) -> None:
        self._home.gateway.run(["dd", "if=/dev/zero", f"of={self._path}/filler", "bs=4k"], check=False)

    def free(self) -> None:
        self._home.gateway.run(["rm", f"{self._path}/filler"])

    def remount(self, how: str) -> None:
        self._home.gateway.run(["mount", "-o", f"remount,{how}", str(self._path)])

    def ports(self) -> list[int]:
        """The ports on disk, as the gateway's own namespace sees them."""
        return stored_ports(self._home, self._path)


def fill_until_it_fails(home: Household, volume: Volume) -> None:
    """The write-ahead log has room of its own to reuse: changes until it asks for more."""
    volume.fill()
    for _ in range(500):
        try:
            home.point().add(8080, NewPortMappingDescription="x" * 250)
        except OSError:
            break
        if home.ask("GET", "/v1/status")["counters"].get("store failing"):
            return
    raise AssertionError("the disk was never full")


class Disk:
    """The state directory on a file system of its own, on a disk that is a file: what that holds is on the disk.

    What the kernel keeps in memory is not in the file. Its own timers are set to minutes.
    """

    def __init__(self, home: Household, directory: Path) -> None:
        self._home = home
        self._image = directory / "disk.img"
        self._after = directory / "after"
        self._after.mkdir()
        home.daemon.stop()
        with self._image.open("wb") as file:
            file.truncate(32 << 20)
        for argv in (
            ["mkfs.ext4", "-q", "-F", str(self._image)],
            ["mount", "-o", "loop,commit=300", str(self._image), str(home.daemon.state_dir)],
        ):
            done = home.gateway.run(argv, check=False)
            if done.returncode != 0:
                pytest.skip(f"no disk of our own here: {argv[0]}: {done.stderr.strip()[:200]}")
        home.gateway.run(["rmdir", f"{home.daemon.state_dir}/lost+found"])
        home.daemon.start()

    def ports_after_power_loss(self) -> list[int]:
        """The ports in the store that a machine would find if the power failed now."""
        lost = self._image.with_name("lost.img")
        shutil.copy(self._image, lost)
        self._home.gateway.run(["mount", "-o", "loop", str(lost), str(self._after)])
        try:
            return stored_ports(self._home, self._after)
        finally:
            self._home.gateway.run(["umount", str(self._after)])

    def take_away(self) -> None:
        self._home.daemon.stop()
        self._home.gateway.run(["umount", str(self._home.daemon.state_dir)])


def test_a_power_loss_takes_the_last_second_at_most(home: Household, tmp_path: Path) -> None:
    """Nothing else is written for as long as the kernel's timers are long: it was lost until a checkpoint."""
    disk = Disk(home, tmp_path)
    try:
        added = []
        for port in (8080, 8081):
            home.point().add(port)
            added.append(port)
            acknowledged = time.monotonic()
            while (found := disk.ports_after_power_loss()) != added:
                assert found == added[:-1], "a moment of the past"
                assert time.monotonic() < acknowledged + 10, "it is not on the disk"
    finally:
        disk.take_away()


def test_a_full_disk_stops_no_mapping_and_grants_no_new_one(home: Household) -> None:
    volume = Volume(home)
    point = home.point()
    point.add(8080)
    point.add(8081)
    with EchoServer(home.console, TCP, 8080):
        fill_until_it_fails(home, volume)
        with refused(501):
            point.add(8090)
        with refused(606):
            point.add(8091, NewInternalClient=home.pc.address)
        point.add(8080, NewPortMappingDescription="refreshed")
        point.delete(8081)
        assert home.reach(8080)
        assert home.shut(8081)
        assert home.shut(8090)
        assert point.specific(8080)["NewPortMappingDescription"] == "refreshed"
        volume.free()
        assert until(lambda: "store unwritten" not in home.ask("GET", "/v1/status")["counters"], 15)
        point.add(8092)
        assert volume.ports() == [8080, 8092]
        assert any("cannot write to the store" in line for line in home.daemon.output)
        assert any("the store can be written again" in line for line in home.daemon.output)
        home.daemon.kill()
        home.daemon.start()
        home.agree()
        assert sorted(row["external_port"] for row in home.rows()) == [8080, 8092]
        denied = home.ask("GET", "/v1/decisions?verdict=deny")
        assert [record["external_port"] for record in denied] == [8091], "written when there was room again"


def test_a_failing_disk_is_reported_and_loses_nothing(home: Household) -> None:
    point = home.point()
    point.add(8080)
    with home.daemon.faulty("disk", "disk I/O error"):
        with refused(501):
            point.add(8081)
        point.add(8080, NewInternalPort=8080, NewPortMappingDescription="again")
    point.add(8082)
    assert home.disagreement() == ""
    assert any("disk I/O error" in line for line in home.daemon.output)
    assert home.daemon.stop() == 0


def test_changes_that_a_stop_could_not_write_are_reported(home: Household) -> None:
    home.point().add(8080)
    with home.daemon.faulty("disk", "disk I/O error"):
        home.point().delete(8080)
        assert home.daemon.stop() == 0
    assert any("not on disk" in line for line in home.daemon.output)


def test_a_state_directory_that_cannot_be_written_is_named_at_the_start(home: Household) -> None:
    volume = Volume(home)
    home.point().add(8080)
    home.daemon.stop()
    volume.remount("ro")
    with pytest.raises(DaemonFailed, match=r"code 1:\n(?s:.*)ledger\.db"):
        home.daemon.start()
    volume.remount("rw")
    home.daemon.start()
    assert [row["external_port"] for row in home.rows()] == [8080]


@pytest.mark.parametrize("damage", ["garbage", "newer", "directory"])
def test_a_store_that_cannot_be_read_is_named_and_kept(home: Household, damage: str) -> None:
    """And what the kernel holds goes on until its leases end."""
    path = home.daemon.state_dir / "ledger.db"
    home.point().add(8080)
    with EchoServer(home.console, TCP, 8080), dial(home.peer, TCP, home.external, 8080) as call:
        home.daemon.stop()
        if damage == "newer":
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA user_version = 999")
        else:
            path.rename(path.with_suffix(".kept"))
            path.mkdir() if damage == "directory" else path.write_bytes(b"no database at all" * 1000)
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(DaemonFailed, match=r"code 1:\n(?s:.*)ledger\.db"):
            home.daemon.start()
        assert (path.read_bytes() if path.is_file() else b"") == before
        assert "Traceback" not in home.daemon.last_words()
        assert call.ask()


@pytest.mark.spec("SR-38")
def test_a_store_without_its_log_opens_nothing_of_an_older_state(home: Household) -> None:
    """A mapping of the older state, which was deleted since, is shut; nothing but a kill is no loss."""
    log = home.daemon.state_dir / "ledger.db-wal"
    point = home.point()
    with EchoServer(home.console, TCP, 8080), EchoServer(home.console, TCP, 8081):
        point.add(8080)
        home.daemon.kill()
        home.daemon.start()
        home.agree()
        home.daemon.stop()
        home.daemon.start()
        assert home.reach(8080), "it is in the database file now"
        home.point().delete(8080)
        home.point().add(8081)
        assert until(lambda: b'"transaction": %d' % newest(log.parent) in mark(log.parent))
        lines_before = len(home.daemon.output)
        home.daemon.kill()
        log.unlink()
        home.daemon.start()
        assert home.rows() == []
        assert home.shut(8080)
        assert home.shut(8081)
        assert any("ledger.db: is older than" in line for line in home.daemon.output[lines_before:])
        assert any("closed: tcp 8080" in line for line in home.daemon.output[lines_before:])
        assert any("is older than" in warning for warning in home.ask("GET", "/v1/status")["warnings"])
        assert list(log.parent.glob("ledger.db.kept-*Z"))
        home.point().add(8081)
        assert home.reach(8081)
        home.agree()


def newest(directory: Path) -> int:
    """The last transaction of the store."""
    with closing(sqlite3.connect(directory / "ledger.db")) as db:
        return int(db.execute("SELECT value FROM meta WHERE key = 'transaction'").fetchone()[0])


def mark(directory: Path) -> bytes:
    return (directory / "ledger.db-highwater").read_bytes()
