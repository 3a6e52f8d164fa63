"""Readings of files of /proc and /etc. The whole reading: tests/lab/test_setup.py."""

from collections import namedtuple
from ipaddress import ip_address
from pathlib import Path

import pytest

from upnp_gw.setup import machine
from upnp_gw.setup.machine import idle_firewalls, pppoe_carriers, runs_as_service, ssh_client


def test_the_interface_of_a_pppoe_session() -> None:
    listed = "Id       Address              Device\n0000002A 00:1e:80:00:00:01  eth0.7\n"
    assert pppoe_carriers(listed) == {"eth0.7"}
    assert pppoe_carriers("Id       Address              Device\n") == pppoe_carriers("") == frozenset()


WANTS = "systemd/system/multi-user.target.wants"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, ()),
        ({f"{WANTS}/firewalld.service": ""}, ("firewalld",)),
        ({"ufw/ufw.conf": "# x\nENABLED=yes\nLOGLEVEL=low\n"}, ("ufw",)),
        ({"ufw/ufw.conf": "# ENABLED=yes: at boot\nENABLED=no\n", f"{WANTS}/ufw.service": ""}, ()),
        ({"ufw/ufw.conf": "ENABLED=no\n"}, ()),
        (
            {
                "systemd/system/sysinit.target.wants/nftables.service": "",
                "nftables.conf": "flush ruleset\ntable inet filter {\n chain forward {\n  policy drop;\n }\n}\n",
            },
            ("nftables.conf",),
        ),
        (
            {
                "systemd/system/sysinit.target.wants/nftables.service": "",
                "nftables.conf": "flush ruleset\ntable inet filter {\n chain input {\n # drop\n }\n}\n",
            },
            (),
        ),
        ({"nftables.conf": "table inet x { chain y { policy drop; } }\n"}, ()),
        (
            {f"{WANTS}/netfilter-persistent.service": "", "iptables/rules.v4": "*filter\n-A FORWARD -j DROP\n"},
            ("iptables-persistent",),
        ),
        ({f"{WANTS}/netfilter-persistent.service": "", "iptables/rules.v4": "*filter\nCOMMIT\n"}, ()),
    ],
)
def test_firewalls_that_start_with_the_machine(
    tmp_path: Path, files: dict[str, str], found: tuple[str, ...]
) -> None:
    for name, text in files.items():
        path = tmp_path / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert idle_firewalls(tmp_path / "etc", tmp_path / "proc") == found


def test_tables_of_iptables_legacy_are_seen(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/ip_tables_names").write_text("")
    assert idle_firewalls(tmp_path, tmp_path) == ()
    (tmp_path / "net/ip6_tables_names").write_text("filter\n")
    assert idle_firewalls(tmp_path, tmp_path) == ("iptables-legacy",)


def process(proc: Path, pid: int, parent: int, *variables: str, name: str = "bash") -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "environ").write_text("\0".join(variables))
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")


def test_the_host_of_an_ssh_session_is_found_through_sudo(tmp_path: Path) -> None:
    process(tmp_path, 30, 20, "SUDO_USER=me", name="upnp-gw")
    process(tmp_path, 20, 10, name="sudo (x) 9")
    process(tmp_path, 10, 1, "HOME=/root", "SSH_CONNECTION=198.51.100.7 40000 11.0.0.2 22")
    process(tmp_path, 1, 0)
    assert ssh_client(30, tmp_path) == ip_address("198.51.100.7")
    (tmp_path / "10/environ").write_text("SSH_CONNECTION=fe80::1%eth0 40000 fe80::2 22")
    assert ssh_client(30, tmp_path) == ip_address("fe80::1")
    (tmp_path / "10/environ").write_text("SSH_CONNECTION=nonsense")
    assert ssh_client(30, tmp_path) is None


def test_no_ssh_session(tmp_path: Path) -> None:
    process(tmp_path, 30, 1)
    assert ssh_client(30, tmp_path) is None
    assert ssh_client(31, tmp_path) is None, "it has ended"
    process(tmp_path, 40, 40)
    assert ssh_client(40, tmp_path) is None, "a circle ends"


def test_a_process_of_the_service_is_known_by_its_control_group(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text("0::/system.slice/upnp-gw.service\n")
    assert runs_as_service(7, tmp_path)
    (tmp_path / "7/cgroup").write_text("0::/user.slice/user-0.slice/session-1.scope\n")
    assert not runs_as_service(7, tmp_path)
    assert not runs_as_service(8, tmp_path)


Account = namedtuple("Account", "gr_name gr_mem pw_name", defaults=("", (), ""))


@pytest.mark.parametrize(
    ("groups", "users", "found"),
    [
        ([], [], ""),
        ([Account("upnp-gw-page", ["upnp-gw"])], ["upnp-gw"], "upnp-gw-page"),
        ([Account("upnp-gw-page", [])], ["root"], "upnp-gw-page"),
        ([Account("upnp-gw-page", [])], ["upnp-gw"], ""),
        ([Account("upnp-gw", ["upnp-gw"])], ["upnp-gw"], ""),
    ],
)
def test_the_group_of_the_page_is_one_that_the_daemon_may_give_its_socket_to(
    monkeypatch: pytest.MonkeyPatch, groups: list[Account], users: list[str], found: str
) -> None:
    monkeypatch.setattr("grp.getgrall", lambda: groups)
    monkeypatch.setattr("pwd.getpwall", lambda: [Account(pw_name=name) for name in users])
    assert machine._page_group() == found
