"""``upnp-gw import``: what it says, what it writes, and what it refuses."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ROOT
from tests.docs.blocks import read
from tests.fixtures.policies import TODAY
from tests.setup.dumps import interfaces, routes
from upnp_gw.cli import importing as command
from upnp_gw.cli import main
from upnp_gw.cli import setup as setup_command
from upnp_gw.config.file import read_file
from upnp_gw.gate.load import load_file
from upnp_gw.setup.machine import Machine

LINKS = interfaces("lo 127.0.0.1/8\neth0 11.0.0.2/24\nbr0 192.168.1.1/24")
HOME = """ext_ifname=eth0
listening_ip=br0
enable_natpmp=yes
uuid=1
allow 1024-65535 192.168.1.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
Tell = Callable[..., tuple[int, str]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "etc"


@pytest.fixture
def tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, directory: Path
) -> Tell:
    """Runs it without a terminal on a file with this text; the exit code, and all that was printed."""

    def run(text: str | bytes, *options: str) -> tuple[int, str]:
        monkeypatch.setattr(command, "read_interfaces", lambda: (LINKS, ()))
        file = tmp_path / "miniupnpd.conf"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(SystemExit) as ended:
            main(["import", str(file), "--config-dir", str(directory), *options], prog_name="upnp-gw")
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out + printed.err

    return run


def test_a_dry_run_says_everything_and_writes_nothing(tell: Tell, directory: Path) -> None:
    code, printed = tell(HOME, "--dry-run")
    assert code == 0
    for text in (
        "4 settings, 2 permission lines",
        "5: allow 1024-65535 192.168.1.0/24 1024-65535\n        grant line-5\n",
        "4: uuid=1\n        this gateway has its own one: devices see a new gateway\n",
        "Equal: the policy answers as the 2 permission lines do, on every request for a port mapping.",
        "policy.toml: new file",
        'interface = "eth0" # line 1: ext_ifname=eth0',
        "Nothing was written (--dry-run).",
    ):
        assert text in printed
    assert not directory.exists()


def test_it_writes_both_files_and_copies_those_that_are_there(tell: Tell, directory: Path) -> None:
    directory.mkdir()
    (directory / "policy.toml").write_text("version = 1\n")
    (directory / "config.toml").write_text('[log]\nlevel = "debug"\n')
    code, printed = tell(HOME, "--yes")
    assert code == 0
    config = read_file(directory / "config.toml")
    assert (config["wan"], config["lan"], config["log_level"]) == ("eth0", ("br0",), "debug")
    assert [grant.name for grant in load_file(config["policy"], TODAY).policy.grants] == ["ipv6", "line-5"]
    copies = {path.name.rsplit(".", 1)[0]: path.read_text() for path in directory.iterdir() if "toml." in path.name}
    assert copies == {"policy.toml": "version = 1\n", "config.toml": '[log]\nlevel = "debug"\n'}
    assert printed.count("the old file is") == 2
    assert "systemctl disable --now miniupnpd" in printed
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    assert tell(HOME, "--yes")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_what_is_missing_is_named_and_nothing_is_written(tell: Tell, directory: Path) -> None:
    code, printed = tell("allow 80 192.168.1.5 80", "--yes")
    assert code == 2
    assert "the interface to the internet: --wan IF; the interface of the LAN: --lan IF" in printed
    assert not directory.exists()
    code, printed = tell("listening_ip=192.168.7.1", "--yes", "--wan", "eth0")
    assert code == 2
    assert "the interface of listening_ip=192.168.7.1: --lan IF" in printed
    assert tell("listening_ip=192.168.1.1", "--yes", "--wan", "eth0")[0] == 0
    assert read_file(directory / "config.toml")["lan"] == ("br0",)


def test_without_a_terminal_it_needs_a_decision(tell: Tell, directory: Path) -> None:
    code, printed = tell(HOME)
    assert code == 2
    assert "--yes writes the files, --dry-run shows them" in printed
    assert not directory.exists()


def test_json_has_everything(tell: Tell, directory: Path) -> None:
    code, printed = tell(f"{HOME}secure_mode=no\n", "--json")
    told = json.loads(printed)
    assert code == 0
    assert told["written"] is False
    assert told["equal"] is False
    assert told["differences"][0]["kind"] == "opens less"
    assert told["lines"][3] == {
        "line": 4,
        "text": "uuid=1",
        "fate": "not carried",
        "why": "this gateway has its own one: devices see a new gateway",
    }
    assert [Path(file["path"]).name for file in told["files"]] == ["policy.toml", "config.toml"]
    assert not directory.exists()
    upnp_alone = HOME.replace("enable_natpmp=yes", "enable_natpmp=no")
    told = json.loads(tell(f"{upnp_alone}secure_mode=no\n", "--json", "--yes", "--for-others")[1])
    assert (told["written"], told["equal"]) == (True, True)
    assert (directory / "policy.toml").read_text() == told["files"][0]["text"]


def test_a_difference_is_told(tell: Tell) -> None:
    printed = tell(f"{HOME}secure_mode=no\n", "--dry-run")[1]
    assert "The policy answers these port mappings differently, and all others alike:" in printed
    assert "  opens less: for another device, at zone line-5, over igd1 and igd2" in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port 5000", ':1: "port 5000": accepted: key=value'),
        ("allow 1-2 10.0.0.0/8", ":1: .*accepted: a line such as allow"),
        (b"\x7fELF\x00", ":1: a control character: this is no text file"),
        (b"x" * 11_000_000, "larger than"),
        (b"#" * 1_000_000, ":1: a line of 1000000 bytes"),
        ("ext_ifname=br0\nlistening_ip=br0", "br0 is also the WAN"),
    ],
)
def test_a_file_that_is_not_accepted(tell: Tell, directory: Path, text: str | bytes, message: str) -> None:
    code, printed = tell(text, "--yes")
    assert code == 2
    assert message.split(".*")[-1] in printed
    assert len(printed) < 500
    assert not directory.exists()
    told = json.loads(tell(text, "--json")[1])
    assert told["ok"] is False


def test_a_file_that_is_not_there(tell: Tell, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["import", "/nowhere/miniupnpd.conf", "--dry-run"], prog_name="upnp-gw")
    assert ended.value.code == 2
    assert "/nowhere/miniupnpd.conf: " in capsys.readouterr().err


def test_the_policy_of_the_page_is_the_one_that_is_written(tell: Tell) -> None:
    page = read(ROOT / "docs" / "migrating.md")
    file = next(block.text for block in page if block.mark == "file")
    policy = next(block.text for block in page if block.kind == "toml")
    told = json.loads(tell(file, "--json")[1])
    written = told["files"][0]["text"]
    assert policy.removeprefix('version = 1\ndefault = "deny"\n') in written
    assert told["equal"] is True


def test_the_policy_file_that_a_configuration_names_is_replaced(tell: Tell, directory: Path) -> None:
    directory.mkdir()
    (directory / "config.toml").write_text('[gate]\npolicy = "mine/rules.toml"\n')
    assert tell(HOME, "--yes")[0] == 0
    assert {path.name for path in directory.iterdir() if path.is_file()} >= {"config.toml"}
    assert "line-5" in (directory / "mine" / "rules.toml").read_text()
    assert read_file(directory / "config.toml")["policy"] == directory / "mine" / "rules.toml"


def test_a_configuration_with_a_mistake_is_named(tell: Tell, directory: Path) -> None:
    directory.mkdir()
    (directory / "config.toml").write_text("[wan]\ninterface = 3\n")
    code, printed = tell(HOME, "--yes")
    assert code == 2
    assert "config.toml:2: wan.interface: got the number 3" in printed
    assert [path.name for path in directory.iterdir()] == ["config.toml"]


def test_setup_goes_on_and_keeps_the_policy(tell: Tell, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = tell(HOME, "--yes")[1]
    assert f"upnp-gw setup --policy keep --config-dir {directory}\n" in printed.replace("\n    ", " ")
    policy = (directory / "policy.toml").read_text()
    machine = Machine(LINKS, routes("default dev eth0"), ruleset={"nftables": []})
    monkeypatch.setattr(setup_command, "read_machine", lambda: machine)
    monkeypatch.setattr(setup_command, "finish", lambda after: 0)
    with pytest.raises(SystemExit) as ended:
        main(["setup", "--config-dir", str(directory), "--yes", "--policy", "keep"], prog_name="upnp-gw")
    assert ended.value.code == 0
    assert (directory / "policy.toml").read_text() == policy
    config = read_file(directory / "config.toml")
    assert (config["wan"], config["lan"], str(config["natpmp"])) == ("eth0", ("br0",), "on")
    assert "enable_natpmp=yes" in (directory / "config.toml").read_text()


class Typed(io.StringIO):
    """A person at a terminal."""

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_what_is_missing_is_asked_and_a_no_writes_nothing(
    tell: Tell, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "listening_ip=192.168.7.1\nallow 80 192.168.7.5 80\n"
    monkeypatch.setattr("sys.stdin", Typed("eth0\nbr0\nn\n"))
    code, printed = tell(text)
    assert code == 1
    assert "Interfaces of this machine: eth0, br0" in printed
    assert "The interfaces of your devices (LAN 192.168.7.1), the home LAN first:" in printed
    assert "Write this? [Y/n]:" in printed
    assert not directory.exists()
    monkeypatch.setattr("sys.stdin", Typed("eth0\nbr0\n\n"))
    assert tell(text)[0] == 0
    config = read_file(directory / "config.toml")
    assert (config["wan"], config["lan"]) == ("eth0", ("br0",))


def test_at_a_terminal_a_whole_file_has_one_question(
    tell: Tell, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Typed("y\n"))
    code, printed = tell(HOME)
    assert code == 0
    assert printed.count("]:") == 1
    assert (directory / "policy.toml").exists()
