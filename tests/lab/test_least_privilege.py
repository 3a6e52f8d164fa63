"""Started as root it becomes another user with one capability, and does everything it did before."""

import os
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, Home, served_home
from tests.lab.igd_control_point import ControlPoint, refused
from tests.lab.neighbour_forgery import claim
from upnp_gw.lab.daemon import DaemonFailed
from upnp_gw.lab.probe import EchoServer
from upnp_gw.system.privileges import CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, find

pytestmark = [pytest.mark.lab, pytest.mark.spec("SR-27")]

USER = "nobody"
OTHER_WAN = IPv4Address("11.22.33.99")


@pytest.fixture(scope="module")
def directory(namespaces: None) -> Iterator[Path]:
    """A place that other users reach: pytest's own are root's alone."""
    if find(USER, "", Path("/proc/self/uid_map").read_text("ascii")) is None:
        pytest.skip("this user namespace has root alone: there is nobody to become")
    for needed in (Path(sys.executable).resolve(), Path(sys.prefix), Path(__file__)):
        closed = [place for place in needed.parents if not place.stat().st_mode & 0o001]
        if closed:
            pytest.skip(f"{USER} cannot reach {needed.name}: {closed[0]} is closed to other users")
    with tempfile.TemporaryDirectory(prefix="upnp-gw-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.fixture(scope="module")
def home(directory: Path) -> Iterator[Home]:
    with served_home(directory, *ROUTER, "--user", USER) as home:
        yield home


def statuses(pid: int) -> list[dict[str, list[str]]]:
    """The status in /proc of every thread of a process."""
    return [
        {name: value.split() for name, _, value in (line.partition(":") for line in path.read_text().splitlines())}
        for path in Path(f"/proc/{pid}/task").glob("*/status")
    ]


def test_every_thread_is_the_users_and_holds_one_capability(home: Home) -> None:
    account = find(USER, "", "0 0 4294967295")
    assert account is not None
    only, none = f"{1 << CAP_NET_ADMIN:016x}", f"{0:016x}"
    threads = statuses(home.daemon.pid)
    assert len(threads) > 1
    for status in threads:
        assert status["Uid"] == [str(account.uid)] * 4
        assert status["Gid"] == [str(account.gid)] * 4
        assert set(map(int, status["Groups"])) == set(account.groups)
        assert (status["CapPrm"], status["CapEff"], status["CapBnd"]) == ([only], [only], [only])
        assert (status["CapInh"], status["CapAmb"], status["NoNewPrivs"]) == ([none], [none], ["1"])


def test_the_whole_way_works_without_root(home: Home) -> None:
    home.point().add(8080)
    with EchoServer(home.console, TCP, 8080):
        assert home.reach(8080).answered_by == "console"
        with home.watch() as watch:
            home.gateway.run(["nft", "flush", "ruleset"])
            watch.wait("healed")
        assert home.reach(8080)
        home.agree()
        with home.watch() as watch:
            home.renumber_wan(OTHER_WAN)
            watch.wait("wan")
        assert home.reach(8080, address=OTHER_WAN)
        home.daemon.stop()
        home.daemon.start()
        assert home.reach(8080, address=OTHER_WAN)
        home.agree()
        home.clear()
        assert not home.rows()
    assert home.gateway.sysctl("net/ipv4/ip_forward") == "1", "router mode switched forwarding on"
    assert not [line for line in home.daemon.output if "denied" in line or "not permitted" in line]


def test_without_root_it_hears_two_hosts_that_answer_for_one_address(home: Home) -> None:
    """The sockets for it are made before CAP_NET_RAW is given up."""
    claim(home.pc, home.console.address, home.gateway)
    home.points.clear()
    with refused(501):
        home.point("pc").add(8090, NewInternalClient=home.console.address)
    assert home.rows() == []
    assert not [line for line in home.daemon.output if "is not heard" in line]
    home.daemon.stop()  # the contest ends with the daemon
    claim(home.console, home.console.address, home.gateway)  # or the kernel's answers to it go to the forger
    home.daemon.start()


def test_its_files_are_not_readable_by_everybody(home: Home) -> None:
    home.point().add(8090)
    home.daemon.cli("allow", str(home.console.address), "9999")
    made = {path.name: path.stat().st_mode & 0o777 for path in home.daemon.state_dir.iterdir()}
    assert {"ledger.db", "ledger.db-wal", "approved.toml"} <= made.keys()
    assert {name: oct(mode) for name, mode in made.items() if mode & 0o007} == {}
    home.clear()


def test_files_of_runs_as_root_are_given_to_the_user(home: Home) -> None:
    """A gateway that ran as root until its user was made keeps its mappings."""
    account = find(USER, "", "0 0 4294967295")
    assert account is not None
    home.daemon.stop()
    ledger = home.daemon.state_dir / "ledger.db"
    for path in (home.daemon.state_dir, ledger):
        os.chown(path, 0, 0)
    home.daemon.start()
    assert (ledger.stat().st_uid, ledger.parent.stat().st_uid) == (account.uid, account.uid)
    home.point().add(8081)
    home.clear()


def test_a_port_below_1024_costs_one_capability_more(directory: Path) -> None:
    (directory / "low").mkdir(mode=0o711)
    with served_home(directory / "low", *ROUTER, "--user", USER, "--http-port", "80") as home:
        both = f"{1 << CAP_NET_ADMIN | 1 << CAP_NET_BIND_SERVICE:016x}"
        assert {status["CapEff"][0] for status in statuses(home.daemon.pid)} == {both}
        assert ControlPoint(home.console, home.gateway.address, port=80).external_address() == str(home.external)


@pytest.mark.parametrize("there", ["a user who is not there", "a state directory with other things in it"])
def test_where_it_cannot_it_does_not_start_and_says_why(directory: Path, there: str) -> None:
    place = directory / there.split()[1]
    user, message = USER, "belongs to root and has other files"
    if "user" in there:
        user, message = "no-such-user", "this machine has no user no-such-user"
    else:
        (place / "state").mkdir(parents=True)
        (place / "state" / "shadow").touch()
    place.mkdir(exist_ok=True)
    with pytest.raises(DaemonFailed, match=message), served_home(place, *ROUTER, "--user", user):
        pass
