"""The unit in examples/systemd: what it promises, and what systemd makes of it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ROOT
from upnp_gw.config.settings import Config
from upnp_gw.system.privileges import OWN_USER
from upnp_gw.system.process import HEAP_VARIABLES

pytestmark = pytest.mark.spec("SR-27")

HERE = ROOT / "examples" / "systemd"
UNIT = HERE / "upnp-gw.service"
PAGE = HERE / "upnp-gw-page.service"
EXPOSURE_MAX = 20
"""Of 100, as systemd-analyze weighs it; a service with nothing set has 96."""


def read(path: Path) -> dict[tuple[str, str], list[str]]:
    """(section, key) -> its values in order."""
    found: dict[tuple[str, str], list[str]] = {}
    section = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            found.setdefault((section, key.strip()), []).append(value.strip())
    return found


def service(key: str) -> str:
    (value,) = read(UNIT)["Service", key]
    return value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("User", OWN_USER),
        ("AmbientCapabilities", "CAP_NET_ADMIN CAP_NET_RAW"),
        ("CapabilityBoundingSet", "CAP_NET_ADMIN CAP_NET_RAW"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET"),
        ("RestartPreventExitStatus", "2"),
    ],
)
def test_the_unit_has_its_protections(key: str, value: str) -> None:
    assert service(key) == value


def test_the_unit_has_the_environment_that_the_lab_gives_to_the_daemon() -> None:
    assert service("Environment") == " ".join(f"{name}={value}" for name, value in HEAP_VARIABLES.items())


def test_the_page_has_a_user_of_its_own_and_no_capability() -> None:
    page = read(PAGE)
    assert page["Service", "CapabilityBoundingSet"] == page["Service", "AmbientCapabilities"] == [""]
    assert page["Service", "User"] != [service("User")]
    config = Config("w", ("l",))
    assert Path("/var/lib") / page["Service", "StateDirectory"][0] == config.page_state_dir
    assert Path("/run") / page["Service", "RuntimeDirectory"][0] == config.page_runtime_dir
    for key in ("NoNewPrivileges", "ProtectSystem", "ProtectHome", "MemoryDenyWriteExecute"):
        assert page["Service", key] == read(UNIT)["Service", key]
    assert page["Service", "RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]


def test_the_directories_are_those_of_the_defaults() -> None:
    assert Path("/var/lib") / service("StateDirectory") == Config("w", ("l",)).state_dir
    assert Path("/run") / service("RuntimeDirectory") == Config("w", ("l",)).runtime_dir
    assert service("ExecStart").endswith("upnp-gw run --config /etc/upnp-gw/config.toml")


def test_the_watchdog_is_fed_more_often_than_it_bites() -> None:
    """The daemon sends at half the time; a heal or a reload takes seconds at worst."""
    assert int(service("WatchdogSec")) >= 20


def test_router_mode_lifts_the_one_thing_that_it_needs() -> None:
    assert read(HERE / "upnp-gw-router.conf") == {("Service", "ProtectKernelTunables"): ["no"]}


def test_the_users_file_makes_the_units_user() -> None:
    lines = (HERE / "upnp-gw-sysusers.conf").read_text("utf-8").splitlines()
    assert [line.split()[:2] for line in lines if line and not line.startswith("#")] == [["u", OWN_USER]]


def test_the_users_file_of_the_page_makes_its_user_and_opens_the_socket_to_it() -> None:
    lines = (HERE / "upnp-gw-page-sysusers.conf").read_text("utf-8").splitlines()
    user = read(PAGE)["Service", "User"][0]
    assert [line.split()[:3] for line in lines if line and not line.startswith("#")] == [
        ["u", user, "-"],
        ["m", OWN_USER, user],
    ]


@pytest.mark.parametrize("path", [UNIT, PAGE], ids=lambda path: path.stem)
def test_the_state_directory_is_made_as_the_unit_makes_it(path: Path) -> None:
    unit = read(path)
    (name,), (mode,), (user,) = (unit["Service", key] for key in ("StateDirectory", "StateDirectoryMode", "User"))
    lines = (HERE / f"{user}-tmpfiles.conf").read_text("utf-8").splitlines()
    made = [line.split() for line in lines if line and not line.startswith("#")]
    assert made == [["d", f"/var/lib/{name}", mode, user, user, "-"]]


def test_the_sysctls_are_those_that_the_gateway_would_set() -> None:
    lines = (HERE / "upnp-gw-sysctl.conf").read_text("utf-8").splitlines()
    pairs = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
    assert pairs == {
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        "net.ipv6.conf.default.accept_ra": "2",
    }


def test_systemd_finds_it_little_exposed(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian, Ubuntu: apt install systemd)")
    offline = [analyze, "security", "--no-pager", "--offline=yes", f"--threshold={EXPOSURE_MAX}"]
    for unit in (UNIT, PAGE):
        done = subprocess.run([*offline, str(unit)], capture_output=True, text=True, timeout=60, check=False)
        exposure = re.search(r"exposure level.*: (\d+\.\d)", done.stdout)
        assert exposure is not None, done.stdout + done.stderr
        assert done.returncode == 0, f"exposure {exposure[1]}:\n{done.stdout}"
    loose = tmp_path / UNIT.name
    loose.write_text("[Service]\nExecStart=/bin/true\n")
    done = subprocess.run([*offline, str(loose)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0, "a unit with nothing set fails the measure"
