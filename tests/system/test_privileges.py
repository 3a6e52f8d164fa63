"""The user that root becomes, the files that this user gets, and the rights left after a start by systemd."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import upnp_gw
from upnp_gw.model.errors import ConfigError
from upnp_gw.system.files import user_name
from upnp_gw.system.privileges import Account, find, hand_over, settle

pytestmark = pytest.mark.spec("SR-27")

EVERYBODY = "         0          0 4294967295\n"
ROOT_ALONE = "         0       1000          1\n"
ME = Account("someone", os.geteuid(), os.getegid(), ())

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or find("nobody", "", Path("/proc/self/uid_map").read_text("ascii")) is None,
    reason="only root of a user namespace with other users in it can become another user",
)


def test_find_returns_the_account_of_the_machine() -> None:
    account = find("nobody", "", EVERYBODY)
    assert account is not None
    assert user_name(account.uid) == "nobody"
    assert account.gid in account.groups
    assert find("no-such-user", "", EVERYBODY) is None
    assert find("root", "", EVERYBODY) is None, "whoever is uid 0 is not a user of its own"


def test_a_user_outside_the_user_namespace_is_not_found() -> None:
    assert find("nobody", "", ROOT_ALONE) is None


def test_the_control_group_is_among_the_groups() -> None:
    """Else the control socket could not be given to it."""
    account = find("nobody", "tty", EVERYBODY)
    assert account is not None
    assert len(account.groups) == 2
    assert find("nobody", "no-such-group", EVERYBODY) is not None, "the control socket says what is wrong"


@needs_root
def test_a_directory_of_root_with_other_files_is_not_given_away(tmp_path: Path) -> None:
    (tmp_path / "dpkg").mkdir()
    (tmp_path / "ledger.db").touch()
    with pytest.raises(ConfigError, match="has other files"):
        hand_over(tmp_path, Account("nobody", 65534, 65534, ()))
    assert tmp_path.stat().st_uid == (tmp_path / "ledger.db").stat().st_uid == 0


@needs_root
def test_only_own_regular_files_of_root_are_given_away(tmp_path: Path) -> None:
    """The directory is the user's: what lies in it may be a link to a file of root's."""
    secret = tmp_path / "secret"
    secret.touch()
    state = tmp_path / "state"
    state.mkdir()
    (state / "ledger.db").touch()
    (state / "ledger.db-wal").symlink_to(secret)
    os.link(secret, state / "ledger.db-shm")
    os.mkfifo(state / "approved.toml")
    hand_over(state, Account("nobody", 65534, 65534, ()))
    assert (state / "ledger.db").stat().st_uid == state.stat().st_uid == 65534
    assert secret.stat().st_uid == 0
    assert (state / "approved.toml").stat().st_uid == 0
    (state / "more").touch()
    hand_over(state, Account("nobody", 65534, 65534, ()))
    assert (state / "more").stat().st_uid == 0, "not ours, not touched; and the directory is the user's already"


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        hand_over(tmp_path / "file" / "state", ME)


def test_user_root_stays_root() -> None:
    if os.geteuid() == 0:
        settle("root", "", 5000, ())
        assert os.geteuid() == 0
    else:
        with pytest.raises(ConfigError, match="only root can become root"):
            settle("root", "", 5000, ())


SETTLE = """
import sys
from pathlib import Path
from upnp_gw.model.errors import ConfigError
from upnp_gw.system.privileges import settle
try:
    settle(sys.argv[1], "", int(sys.argv[2]), [Path(p) for p in sys.argv[3:]])
except ConfigError as error:
    sys.exit(str(error))
print(Path("/proc/self/status").read_text())
"""


SettledProcess = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture(scope="module")
def settled() -> Iterator[SettledProcess]:
    """A process that settles: exit code, its /proc status, what it said. A clone may be where only root gets to."""
    python = Path(sys.executable).resolve()  # that of the machine: what is asked needs no package
    for place in python.parents:
        if not place.stat().st_mode & 0o001:
            pytest.skip(f"other users cannot run {python}: {place} is closed to them")
    with tempfile.TemporaryDirectory(prefix="upnp-gw-") as made:
        shutil.copytree(Path(upnp_gw.__file__).parent, Path(made) / "upnp_gw")
        Path(made).chmod(0o755)

        def settle_as(*arguments: str, before: tuple[str, ...] = ()) -> tuple[int, dict[str, str], str]:
            argv = [*before, str(python), "-c", SETTLE, *arguments]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, cwd=made)
            lines = (line.partition(":") for line in done.stdout.splitlines())
            return done.returncode, {name: value.strip() for name, _, value in lines}, done.stderr

        yield settle_as


AS_SYSTEMD = (
    *("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=+net_admin,+net_raw", "--ambient-caps=+net_admin,+net_raw"),
    "--bounding-set=-all,+net_admin,+net_raw",
)


@needs_root
def test_started_as_the_user_it_keeps_net_admin_and_gives_up_the_rest(settled: SettledProcess) -> None:
    """As the unit starts it, and as one that gives too much does."""
    code, status, output = settled("", "5000", before=AS_SYSTEMD)
    assert code == 0, output
    assert (status["CapPrm"], status["CapEff"]) == (f"{1 << 12:016x}",) * 2
    assert (status["CapInh"], status["CapAmb"], status["NoNewPrivs"]) == (f"{0:016x}", f"{0:016x}", "1")


@needs_root
def test_only_root_can_become_another_user(settled: SettledProcess) -> None:
    code, _, output = settled("daemon", "5000", before=AS_SYSTEMD)
    assert code == 1
    assert "only root can become daemon; upnp-gw was started by nobody" in output
    assert settled("nobody", "5000", before=AS_SYSTEMD)[0] == 0, "the one it is already"


@needs_root
def test_a_directory_that_the_user_cannot_use_is_an_error_at_start(settled: SettledProcess, tmp_path: Path) -> None:
    """The parent is root's alone: /root, or pytest's own directory."""
    tmp_path.chmod(0o700)
    code, _, output = settled("nobody", "5000", str(tmp_path / "state"))
    assert code == 1
    assert "the user nobody cannot write there" in output
