"""Wrong input for ``upnp-gw setup``, and its texts, on machines that are values."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.setup.dumps import interfaces, routes
from upnp_gw.cli import main
from upnp_gw.cli import setup as command
from upnp_gw.setup.machine import Machine

HOME = Machine(
    interfaces("lo 127.0.0.1/8\neth0 11.0.0.2/24 dhcp\neth1 192.168.1.1/24\neth2 192.168.2.1/24\neth3"),
    routes("default dev eth0"),
    ruleset={"nftables": []},
)
Tell = Callable[..., tuple[int, str]]


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Tell:
    """Runs it without a terminal; the exit code, and all that was printed."""

    def run(options: str, machine: Machine = HOME) -> tuple[int, str]:
        monkeypatch.setattr(command, "read_machine", lambda: machine)
        monkeypatch.setattr(command, "finish", lambda after: 0)
        with pytest.raises(SystemExit) as ended:
            main(["setup", "--config-dir", str(tmp_path / "etc"), *options.split()], prog_name="upnp-gw")
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out + printed.err

    return run


WRONG = {
    "": "setup asks questions, and this is no terminal: --yes takes what is detected",
    "--lan eth1 --policy ask": "setup asks questions, and this is no terminal",
    "--yes": "LAN: 2 interfaces could be the LAN: eth1 (192.168.1.1/24), eth2 (192.168.2.1/24); name it: --lan eth1"
    " or --lan eth2",
    "--yes --lan eth9": '--lan: got "eth9"; accepted: eth1, eth2, eth3',
    "--yes --lan eth1 --lan eth1": '--lan: got "eth1"; accepted: each interface once',
    "--yes --lan eth0 --wan eth0": '--lan: got "eth0"; accepted: eth1, eth2, eth3',
    "--yes --lan eth0": "WAN: the default route is on eth0, which is to be a LAN; name it: --wan",
    "--yes --lan eth1:guests": "accepted: at least one LAN without :guests",
    "--yes --lan eth1:guest": 'got ":guest"; accepted: :guests, :nat or :no-nat after the name',
    "--yes --lan eth1 --lan eth3:guests": "accepted: an interface with an address: the rule for guests names its",
    "--yes --lan lo": '--lan: got "lo"; accepted: eth1, eth2, eth3',
    "--yes --lan eth1 --wan lo": '--wan: got "lo"; accepted: eth0',
    "--yes --lan eth1 --wan eth7": '--wan: got "eth7"; accepted: eth0',
    "--yes --lan eth1 --wan eth0,eth2": '--wan: got "eth0,eth2"; accepted: eth0',
    "--yes --lan eth1 --firewall router": '--firewall: got "router"; accepted: beside or own',
    "--yes --lan eth1 --policy keep": '--policy: got "keep"; accepted: home, ask or locked',
    "--yes --lan eth1 --policy observe": '--policy: got "observe"; accepted: home, ask or locked',
    "--yes --lan eth1 --page on": '--page: got "on"; accepted: own, all or off',
    "--yes --lan eth1 --sign-in tls": '--sign-in: got "tls"; accepted: ssh or lan',
    "--yes --lan eth1 --nonsense": "No such option",
    "--yes --config-dir /dev/null/x": "--config-dir: /dev/null is no directory",
}


@pytest.mark.parametrize(("options", "message"), WRONG.items(), ids=WRONG)
def test_wrong_input_is_refused_with_what_is_accepted(
    tell: Tell, tmp_path: Path, options: str, message: str
) -> None:
    code, told = tell(options)
    assert code == 2
    assert message in told
    assert list(tmp_path.iterdir()) == []


FILES: dict[str, list[tuple[str | bytes, str]]] = {
    "config.toml": [
        ("[lan\n", "config.toml:1: not TOML"),
        ('[lan]\ninterface = "eth1"\n', "config.toml:2: lan.interface: unknown; did you mean interfaces?"),
        ("[wan]\ninterface = 3\n", "config.toml:2: wan.interface: got the number 3"),
        (b"\xff", "config.toml: not UTF-8 at byte 0"),
        ('[lan]\nrouted = ["11.0.0.0/16"]\n', "config.toml:2: lan.routed[0]: 11.0.0.0/16, but the WAN eth0"),
    ],
    "policy.toml": [
        ("version = 2\n", "policy.toml:1: version"),
        ("version = 1\n[[grant]]\n", "policy.toml:2: grant[0]"),
        ("", "policy.toml: version"),
    ],
}


@pytest.mark.parametrize(
    ("name", "text", "message"), [(name, text, message) for name, cases in FILES.items() for text, message in cases]
)
def test_a_mistake_in_a_file_that_is_there_is_named(
    tell: Tell, tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    file = tmp_path / "etc" / name
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, told = tell("--yes --lan eth1")
    assert (code, message in told) == (2, True), told
    assert [path.name for path in file.parent.iterdir()] == [name]


def test_a_file_that_every_user_may_write_is_not_trusted(tell: Tell, tmp_path: Path) -> None:
    file = tmp_path / "etc" / "config.toml"
    file.parent.mkdir()
    file.write_text("")
    file.chmod(0o666)
    code, told = tell("--yes --lan eth1")
    assert code == 2
    assert "every user of this machine may write it; chmod o-w" in told


def test_the_configuration_that_is_there_has_the_answers(tell: Tell, tmp_path: Path) -> None:
    assert tell("--yes --lan eth2 --firewall beside --page off --policy ask")[0] == 0
    written = {path.name: path.read_text() for path in (tmp_path / "etc").iterdir()}
    code, told = tell("--yes", replace(HOME, routes=()))
    assert (code, told.count("nothing to change")) == (0, 2)
    assert {path.name: path.read_text() for path in (tmp_path / "etc").iterdir()} == written
    gone = replace(HOME, interfaces=HOME.interfaces[:3])
    code, told = tell("--yes", gone)
    assert code == 2
    assert "LAN: the configuration names eth2, which this machine does not have; name it: --lan eth1" in told


def test_an_operator_who_would_shut_himself_out_is_asked(tell: Tell) -> None:
    outside = replace(HOME, operator_from=ip_address("198.51.100.7"))
    code, told = tell("--yes --lan eth1", outside)
    assert code == 2
    assert (
        "Firewall: you are signed in from 198.51.100.7, which own shuts out; name it: --firewall beside or" in told
    )
    code, told = tell("--dry-run --lan eth1 --firewall own", outside)
    assert (code, "Once the gateway runs, that host is shut out." in told) == (0, True)
    inside = replace(HOME, operator_from=ip_address("192.168.1.9"))
    assert tell("--dry-run --lan eth1", inside)[0] == 0


NOTES = {
    "double NAT": (
        replace(HOME, interfaces=interfaces("eth0 100.70.0.9/24\neth1 192.168.1.1/24")),
        "note: double NAT: the address 100.70.0.9 of eth0 is shared by a carrier's NAT (RFC 6598).",
    ),
    "IPv6 alone": (
        replace(
            HOME,
            interfaces=interfaces("eth0 2a11::2/64\neth1 192.168.1.1/24"),
            routes=routes("-6 default dev eth0"),
        ),
        "note: eth0 has IPv6 alone: pinholes of IPv6 work, port mappings of IPv4 do not.",
    ),
    "PPPoE that has not dialled": (
        replace(HOME, routes=()),
        "note: ppp0 does not exist yet; the gateway waits for it.",
    ),
    "rules that cannot be read": (
        replace(HOME, ruleset=None, ruleset_problem="not permitted"),
        'mode = "alongside"',
    ),
    "ufw that is enabled and does not run": (replace(HOME, idle_firewalls=("ufw",)), 'mode = "alongside"'),
}


@pytest.mark.parametrize(("machine", "text"), NOTES.values(), ids=NOTES)
def test_what_the_operator_should_know(tell: Tell, machine: Machine, text: str) -> None:
    code, told = tell("--dry-run --lan eth1" + " --wan ppp0" * (not machine.routes), machine)
    assert (code, text in told) == (0, True), told


def test_one_interface(tell: Tell) -> None:
    alone = replace(HOME, interfaces=HOME.interfaces[:2])
    code, told = tell("--yes", alone)
    assert code == 2
    assert "This machine has one network interface" in told
    assert "upnp-gw request asks the router of this network" in told


def test_a_lan_for_guests_stays_one_whatever_else_changes(tell: Tell, tmp_path: Path) -> None:
    assert tell("--yes --lan eth1 --lan eth2:guests")[0] == 0
    policy = tmp_path / "etc" / "policy.toml"
    assert tell("--yes")[1].count("nothing to change") == 2
    assert tell("--yes --policy locked")[0] == 0
    assert 'guests = ["192.168.2.0/24"]' in policy.read_text()
    code, told = tell("--yes --lan eth1 --lan eth2")
    assert (code, "note: the policy that is kept has eth2 in its zone guests" in told) == (0, True)
