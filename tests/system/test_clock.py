"""The claim on the kernel's table: a second gateway is kept out, and no other user can keep the first one out."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from upnp_gw.model.errors import ConfigError
from upnp_gw.system.clock import claim_kernel
from upnp_gw.system.privileges import find

pytestmark = pytest.mark.spec("SR-37")


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"\0upnp-gw/test {tmp_path}"[:100]


def bound(name: str, backlog: int | None) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(name)
    if backlog is not None:
        made.listen(backlog)
    return made


def test_a_second_gateway_is_refused(name: str) -> None:
    claim = claim_kernel("", name)
    assert claim is not None
    with claim:
        for _ in range(3):
            with pytest.raises(ConfigError, match="another upnp-gw"):
                claim_kernel("", name)
    again = claim_kernel("", name)
    assert again is not None, "it goes with its process"
    again.close()


def test_a_name_held_by_a_silent_process_does_not_prevent_the_start(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Any user of the machine can take it; a gateway's own is answered."""
    with closing(bound(name, None)):
        assert claim_kernel("", name) is None
    assert "a second upnp-gw would not be noticed" in caplog.text


def test_nor_does_one_whose_queue_is_full(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with closing(bound(name, 0)), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
        first.connect(name)
        assert claim_kernel("", name) is None
    assert "a second upnp-gw would not be noticed" in caplog.text


@pytest.fixture
def nobodys() -> Iterator[Callable[[str], int]]:
    """A name that the user nobody took and answers; the answer is the user's id."""
    account = find("nobody", "", Path("/proc/self/uid_map").read_text("ascii"))
    if os.geteuid() != 0 or account is None:
        pytest.skip("only root of a user namespace with other users in it can become another user")
    children: list[tuple[int, int]] = []

    def take(name: str) -> int:
        ready, signal_end = os.pipe()
        alive, end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(end)
                os.setresuid(account.uid, account.uid, account.uid)
                taken = bound(name, 16)
                os.write(signal_end, b"x")
                os.read(alive, 1)  # until the test has ended
                taken.close()
            finally:
                os._exit(0)
        os.close(signal_end)
        os.close(alive)
        children.append((child, end))
        assert os.read(ready, 1) == b"x"
        os.close(ready)
        return account.uid

    yield take
    for child, end in children:
        os.close(end)
        os.waitpid(child, 0)


def test_a_name_held_by_another_user_does_not_prevent_the_start(
    name: str, nobodys: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    nobodys(name)
    assert claim_kernel("", name) is None
    assert "nobody" in caplog.text


def test_a_gateway_of_the_configured_user_is_one(name: str, nobodys: Callable[[str], int]) -> None:
    """A gateway that stays root finds one that became its own user."""
    nobodys(name)
    with pytest.raises(ConfigError, match="another upnp-gw"):
        claim_kernel("nobody", name)
