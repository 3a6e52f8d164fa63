"""Every file that the gateway opens is a regular one, of the right owner and size; nothing else holds it up.

Each reader meets each kind of thing that can lie in the place of its file. An alarm ends a test whose reader waits:
opening a pipe for reading blocks until somebody writes to it.
"""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from upnp_gw.client.secret import SECRET_BYTES, load_secret
from upnp_gw.config import file as config_file
from upnp_gw.control.socket_path import Claim
from upnp_gw.engine.policy_files import PolicyFiles, write_file
from upnp_gw.gate import load
from upnp_gw.model.errors import ConfigError, GatewayError, StoreError
from upnp_gw.store.store import Store
from upnp_gw.system.dhcp_lease_files import LeaseFiles

pytestmark = pytest.mark.spec("SR-37")

DEADLINE_S = 5.0


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits for somebody to write into a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def device(path: Path) -> None:
    """Makes a device, or, where that is not possible, a link to one: it ends at the same device."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        path.open("rb").close()  # a file system mounted without devices
    except OSError:
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def writable(path: Path) -> None:
    path.write_text("version = 1\n")
    path.chmod(0o666)


def link_out(path: Path) -> None:
    outside = path.parent.parent / "outside.toml"
    outside.write_text("version = 1\n")
    path.symlink_to(outside)


IRREGULAR = [fifo, unix_socket, device, directory]
ANY = [*IRREGULAR, dangling, loop, huge]


def named(planted: Callable[[Path], None]) -> str:
    return planted.__name__


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


def policies(place: Path, operator: Path | None = None) -> PolicyFiles:
    return PolicyFiles(operator, place / "approved.toml", lambda: 1_800_000_000.0)


# -- the operator's files: a link is all right, since whoever made it may name any file


@pytest.mark.parametrize("planted", [*ANY, writable], ids=named)
@pytest.mark.parametrize("read", [config_file.read_file, load.read_text], ids=["configuration", "policy"])
def test_an_operators_file(place: Path, planted: Callable[[Path], None], read: Callable[[Path], object]) -> None:
    path = place / "policy.toml"
    planted(path)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("read", [config_file.read_file, load.read_text], ids=["configuration", "policy"])
def test_a_link_to_an_operators_file_is_followed(place: Path, read: Callable[[Path], object]) -> None:
    (place / "real.toml").write_text("")
    (place / "policy.toml").symlink_to("real.toml")
    read(place / "policy.toml")


# -- the machine-owned policy


@pytest.mark.parametrize("planted", [*ANY, writable, link_out], ids=named)
def test_the_machine_owned_policy(place: Path, planted: Callable[[Path], None]) -> None:
    planted(place / "approved.toml")
    with pytest.raises(ConfigError) as caught:
        policies(place).load()
    assert caught.value.where == str(place / "approved.toml")


def test_a_machine_owned_policy_of_another_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "approved.toml").write_text("version = 1\n")
    if os.geteuid() == 0:
        os.chown(place / "approved.toml", *_somebody())
    else:
        monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to"):
        policies(place).load()


def _somebody() -> tuple[int, int]:
    """A user of this user namespace who is not root, or skips."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, count = map(int, line.split())
        if os.geteuid() == 0 and inside + count > 1:
            return max(inside, 1), -1
    pytest.skip("only root of a user namespace with other users in it can give a file away")


def test_an_empty_machine_owned_policy_is_no_policy_without_rules(place: Path) -> None:
    """It is written whole: an empty one lost its blocks to a fault of the disk."""
    (place / "approved.toml").touch()
    with pytest.raises(ConfigError, match="empty"):
        policies(place).load()


@pytest.mark.parametrize("planted", [*IRREGULAR, dangling, loop, link_out], ids=named)
def test_files_at_the_place_of_a_new_policy(place: Path, planted: Callable[[Path], None]) -> None:
    """Writing goes nowhere else: it takes the place of what lies there, or fails at once."""
    path = place / ".approved.toml.new"
    planted(path)
    with suppress(StoreError):
        write_file(path, "version = 1\n")
        assert stat.S_ISREG(path.lstat().st_mode)
        assert path.read_text() == "version = 1\n"
    outside = place.parent / "outside.toml"
    assert not outside.exists() or outside.read_text() == "version = 1\n"


# -- lease files


@pytest.mark.parametrize("planted", ANY, ids=named)
def test_a_lease_file(place: Path, planted: Callable[[Path], None], caplog: pytest.LogCaptureFixture) -> None:
    planted(place / "dhcp.leases")
    files = LeaseFiles([place / "dhcp.leases"], lambda: 100.0)
    files.poll()
    asyncio.run(files.refresh())
    assert "dhcp.leases" in caplog.text


# -- the store


@pytest.mark.parametrize("planted", [*IRREGULAR, dangling, loop, writable, link_out], ids=named)
@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-journal"])
def test_a_file_of_the_store(place: Path, planted: Callable[[Path], None], name: str) -> None:
    planted(place / name)
    kept = (place / name).lstat()
    with pytest.raises(StoreError) as caught:
        asyncio.run(opened(place / "ledger.db"))
    assert str(place / name) in str(caught.value), "it names the file that is in the way"
    assert (place / name).lstat().st_ino == kept.st_ino, "and leaves it where it is"


async def opened(path: Path) -> None:
    store = Store(path, "boot-1")
    try:
        await store.open()
    finally:
        await store.close()


# -- the secret of the client


@pytest.mark.parametrize("planted", [*ANY, link_out], ids=named)
def test_the_clients_secret(place: Path, planted: Callable[[Path], None]) -> None:
    planted(place / "request-secret")
    assert len(load_secret(place / "request-secret")) == SECRET_BYTES
    outside = place.parent / "outside.toml"
    assert not outside.exists() or outside.read_text() == "version = 1\n"


# -- the directories


def hostile_directories() -> dict[str, Callable[[Path], None]]:
    def everybodys(path: Path) -> None:
        path.mkdir()
        path.chmod(0o1777)

    def in_everybodys(path: Path) -> None:
        path.parent.chmod(0o777)
        path.mkdir()

    def others(path: Path) -> None:
        path.mkdir()
        os.chown(path, *_somebody())

    def others_link(path: Path) -> None:
        path.with_name("real").mkdir()
        path.symlink_to("real")
        os.chown(path, *_somebody(), follow_symlinks=False)

    def file(path: Path) -> None:
        path.touch()

    found = (everybodys, in_everybodys, others, others_link, file, fifo, dangling, loop)
    return {one.__name__: one for one in found}


@pytest.fixture(params=list(hostile_directories()))
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "parent").mkdir()
    hostile_directories()[request.param](tmp_path / "parent" / "dir")
    return tmp_path / "parent" / "dir"


def test_a_runtime_directory_that_others_can_change(hostile: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Claim(hostile).release()
    assert str(hostile) in str(caught.value)


def test_a_state_directory_that_others_can_change(hostile: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        asyncio.run(opened(hostile / "ledger.db"))
    assert str(hostile) in str(caught.value)


def test_a_link_of_our_own_to_a_directory_is_followed(tmp_path: Path) -> None:
    """systemd makes /var/lib/NAME one with DynamicUser; small routers have their state on a stick."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "dir").symlink_to("real")
    Claim(tmp_path / "dir").release()
    asyncio.run(opened(tmp_path / "dir" / "ledger.db"))
    assert (tmp_path / "real" / "ledger.db").is_file()
