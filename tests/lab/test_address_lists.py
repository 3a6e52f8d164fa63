"""Address lists, proved by packets: who gets in, and what a changed file does to ports and to live flows."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, Home, ended, pinhole, served_home
from tests.lab.igd_control_point import Fault
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

POLICY = """
version = 1
[set.office]
file = "office.txt"
[set.blocklist]
file = "blocklist.json"
max_age = "7d"

[[grant]]
name = "web"
who = "*"
int_ports = ["8000-8099"]
remote = { only = ["@office"], never = ["@blocklist"] }

[[grant]]
name = "games"
who = "*"
int_ports = [3074]

[[forbid]]
name = "no-bots"
int_ports = [3074]
remote = ["@blocklist"]
"""
PEERS = ("peer1", "peer2")


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    def lists(lab: Lab) -> None:
        one = lab.hosts["peer1"]
        (tmp_path / "office.txt").write_text(f"{one.address}\n{one.address6} # and over IPv6\n192.0.2.1\n")
        (tmp_path / "blocklist.json").write_text("[]")

    with served_home(tmp_path, *ROUTER, policy=POLICY, before=lists) as home:
        yield home


def write(path: Path, text: str) -> None:
    """As a program that renews a list does: whole, under another name first."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    os.replace(draft, path)


def warned(home: Home, words: str) -> bool:
    return any(words in warning for warning in home.ask("GET", "/v1/status")["warnings"])


def test_the_kernel_follows_the_lists_and_cuts_the_flows_of_who_is_kept_out(home: Home, tmp_path: Path) -> None:
    one, two = (home.lab.hosts[name] for name in PEERS)
    console, address6 = home.console, home.console.address6
    home.point().add(8080)
    home.point().add(3074)
    hole = pinhole(home.point(igd_version=IgdVersion.IGD2), 8080)
    assert hole
    with ExitStack() as stack:
        for port in (8080, 3074):
            stack.enter_context(EchoServer(console, TCP, port))
        assert home.reach(8080)
        assert home.shut(8080, peer="peer2")
        assert home.reach(3074)
        assert home.reach(3074, peer="peer2")
        assert reach(one, TCP, address6, 8080)
        live = {name: stack.enter_context(dial(home.lab.hosts[name], TCP, home.external, 3074)) for name in PEERS}
        office = stack.enter_context(dial(one, TCP, home.external, 8080))
        assert all(call.ask() for call in (*live.values(), office))
        write(tmp_path / "blocklist.json", f'["{one.address}", "{one.address6}"]')
        assert until(lambda: ended(live["peer1"]))
        assert until(lambda: ended(office))
        assert live["peer2"].ask(), "its flow goes on"
        assert home.shut(3074)
        assert home.shut(8080)
        assert not reach(one, TCP, address6, 8080, timeout=0.3)
        assert home.reach(3074, peer="peer2")
        write(tmp_path / "office.txt", f"{two.address}\n{two.address6}\n")
        assert until(lambda: bool(home.reach(8080, peer="peer2")))
        assert hole not in {int(row["id"][1:]) for row in home.rows()}, "nobody was left over IPv6"
        assert home.unproved() == ""


def test_a_broken_list_changes_nothing_and_one_out_of_date_refuses_what_is_new(home: Home, tmp_path: Path) -> None:
    home.point().add(3074)
    blocklist = tmp_path / "blocklist.json"
    write(blocklist, f'["{home.peer.address}", "example.org"]')
    assert until(lambda: warned(home, "the address lists stay as they were"))
    with EchoServer(home.console, TCP, 3074):
        assert home.reach(3074), "the list before it is in force"
        write(blocklist, "[]")
        assert until(lambda: not warned(home, "the address lists stay as they were"))
        assert home.reach(3074)
        os.utime(blocklist, (1_700_000_000, 1_700_000_000))
        assert until(lambda: warned(home, "the address list blocklist is out of date"))
        for port in (3074, 8080):
            with pytest.raises(Fault) as fault:
                home.point().add(port)
            assert fault.value.code == 606
        assert home.reach(3074), "its lease runs on"
        write(blocklist, "[ ]")
        assert until(lambda: not warned(home, "out of date"))
        home.point().add(3074)


def test_a_restart_and_a_flushed_table_keep_out_who_is_on_the_list(home: Home, tmp_path: Path) -> None:
    home.point().add(3074)
    write(tmp_path / "blocklist.json", f'["{home.peer.address}"]')
    with EchoServer(home.console, TCP, 3074):
        assert until(lambda: home.shut(3074))
        assert home.reach(3074, peer="peer2")
        home.daemon.kill()
        assert home.shut(3074), "the kernel alone keeps it out"
        assert home.reach(3074, peer="peer2")
        home.daemon.start()
        assert home.shut(3074)
        assert home.reach(3074, peer="peer2")
        home.gateway.nft("delete table inet upnp_gw")
        assert until(lambda: bool(home.reach(3074, peer="peer2")))
        assert home.shut(3074)
        assert home.unproved() == ""
