"""sd_notify over a real datagram socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from upnp_gw.system.sd_notify import READY, STOPPING, WATCHDOG, notify, watchdog_s


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@upnp-gw-test-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(5)
        yield listener, name


@pytest.mark.parametrize("state", [READY, STOPPING, WATCHDOG])
def test_each_state_reaches_the_socket(supervisor: tuple[socket.socket, str], state: str) -> None:
    listener, name = supervisor
    assert notify({"NOTIFY_SOCKET": name}, state)
    assert listener.recv(100) == state.encode()


def test_a_status_is_one_line(supervisor: tuple[socket.socket, str]) -> None:
    listener, name = supervisor
    assert notify({"NOTIFY_SOCKET": name}, READY, "serving br-lan\nMAINPID=1")
    assert listener.recv(100) == b"READY=1\nSTATUS=serving br-lan MAINPID=1"


@pytest.mark.parametrize(
    "environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}]
)
def test_without_a_socket_nothing_is_sent(environment: dict[str, str]) -> None:
    assert not notify(environment, READY)


@pytest.mark.parametrize(
    ("environment", "every"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_watchdog_interval_is_half_of_its_timeout(environment: dict[str, str], every: float | None) -> None:
    assert watchdog_s(environment, 42) == every
