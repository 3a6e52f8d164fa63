"""Lease files: read when they change, and only then; a broken one is logged once."""

import asyncio
import logging
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from upnp_gw.model.dhcp import LeaseFile, parse_leases
from upnp_gw.model.network import Neighbours
from upnp_gw.system import dhcp_lease_files as lease_files
from upnp_gw.system.dhcp_lease_files import LeaseFiles

MAC, HOST = "02:00:00:00:00:23", IPv4Address("192.168.1.23")
LINE = f"0 {MAC} {HOST} ps5 *\n"


class Now:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def agrees(files: LeaseFiles) -> bool:
    return files.leases.known(HOST, MAC, Neighbours(), 0)[1]


def test_a_new_lease_is_known_at_the_hosts_first_request(tmp_path: Path) -> None:
    path, now = tmp_path / "dhcp.leases", Now()
    path.write_text("")
    files = LeaseFiles([path], now)
    files.poll()
    path.write_text(LINE)
    assert not agrees(files)
    files.poll()
    assert not agrees(files), "not more than twice a second"
    now.s += 1
    files.poll()
    assert agrees(files)
    path.unlink()
    now.s += 1
    files.poll()
    assert not agrees(files), "a lease of a file that is gone is none"


def test_a_file_is_read_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now = tmp_path / "dhcp.leases", Now()
    path.write_text(LINE)
    read: list[bytes] = []

    def counted(data: bytes) -> LeaseFile:
        read.append(data)
        return parse_leases(data)

    monkeypatch.setattr(lease_files, "parse_leases", counted)
    files = LeaseFiles([path], now)
    for _ in range(5):
        now.s += 1
        files.poll()
    assert len(read) == 1
    replaced = tmp_path / "new"
    replaced.write_text(LINE)
    os.replace(replaced, path)
    now.s += 1
    files.poll()
    assert len(read) == 2


def test_a_large_file_is_left_to_the_thread(tmp_path: Path) -> None:
    path, now = tmp_path / "dhcp.leases", Now()
    path.write_text(LINE + "# \n" * lease_files.AT_ONCE_BYTES)
    files = LeaseFiles([path], now)
    files.poll()
    assert not agrees(files)
    asyncio.run(files.refresh())
    assert agrees(files)


async def test_a_problem_of_a_lease_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dhcp.leases"
    files = LeaseFiles([path], Now())
    with caplog.at_level(logging.WARNING):
        await files.refresh()
        await files.refresh()
        path.write_text("no leases here")
        await files.refresh()
        path.write_text("still no leases here")
        await files.refresh()
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "No such file or directory",
        "not a lease file of dnsmasq, Kea, ISC dhcpd or systemd-networkd",
    ]


async def test_lease_files_are_found_in_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dnsmasq").mkdir()
    (tmp_path / "dnsmasq" / "lan.leases").write_text(LINE)
    monkeypatch.setattr(lease_files, "USUAL", (str(tmp_path / "none"), str(tmp_path / "dnsmasq" / "*.leases")))
    files = LeaseFiles([], Now())
    await files.refresh()
    assert agrees(files)
    assert files.paths == (str(tmp_path / "dnsmasq" / "lan.leases"),)


def test_a_pipe_instead_of_a_lease_file_does_not_block(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dhcp.leases"
    os.mkfifo(path)
    files = LeaseFiles([path], Now())
    with caplog.at_level(logging.WARNING):
        files.poll()
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "not a regular file but a pipe"
    ]


def test_a_pipe_that_takes_the_files_place_while_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "dhcp.leases"
    os.mkfifo(path)
    assert LeaseFiles([path], Now())._read(str(path)) == ((), "not a regular file but a pipe")


@pytest.mark.parametrize(("uid", "counts"), [(0, True), (453, True), (1000, False), (65534, False)])
def test_a_user_of_the_machine_plants_no_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, counts: bool
) -> None:
    """/tmp/dhcp.leases is where OpenWrt has them; elsewhere anybody can make it."""
    tmp_path.chmod(0o1777)
    path, real = tmp_path / "dhcp.leases", os.lstat
    path.write_text(LINE)
    owner: dict[str, int] = {str(path): uid}

    def owned(name: str) -> os.stat_result:
        found = list(real(name))
        found[4] = owner.get(name, found[4])
        return os.stat_result(found)

    monkeypatch.setattr(lease_files, "USUAL", (str(path),))
    monkeypatch.setattr("os.lstat", owned)
    found, named = LeaseFiles([], Now()), LeaseFiles([path], Now())
    found.poll()
    named.poll()
    assert (agrees(found), agrees(named)) == (counts, True)
    tmp_path.chmod(0o755)
    private = LeaseFiles([], Now())
    private.poll()
    assert agrees(private), "where only its owner may write, whoever it is was let in"
