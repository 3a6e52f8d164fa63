"""Both ways of writing elements leave the same in the kernel, and refuse the same with the error at its element."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.firewall.test_agreement import BATCHES, held
from tests.fixtures.firewall_driver import NETWORK, Driver, driving, forward, settings
from tests.fixtures.sent_batches import CASES, EVERY_KIND
from upnp_gw.firewall import netlink
from upnp_gw.firewall.base import Change, Close, FirewallMode, Open, Refill, UpdateNetwork
from upnp_gw.firewall.nftables import NftablesFirewall, Writing
from upnp_gw.firewall.nftables.element_writer import ElementRefused, NetlinkWriter
from upnp_gw.firewall.nftables.elements import slot_of
from upnp_gw.lab import Host
from upnp_gw.model.errors import FirewallError

pytestmark = pytest.mark.lab
Real = Driver[NftablesFirewall]
Pair = tuple[tuple[Real, Host], tuple[Real, Host]]
APART_S = 20
"""The most seconds between the same batch in the two namespaces, on an emulated machine with a load."""


@pytest.fixture(scope="module", params=list(FirewallMode))
def pair(namespaces: None, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A firewall for each way of writing, each in a network namespace of its own. Their clocks stand still."""
    with ExitStack() as stack:
        made = []
        for writing in Writing:
            host = Host(writing.value)
            stack.callback(host.close)
            driver = stack.enter_context(driving(NftablesFirewall(clock=lambda: 0.0, writing=writing), host))
            driver.open(settings(request.param, size=50))
            made.append((driver, host))
        yield made[0], made[1]


def begin_anew(pair: Pair) -> None:
    """No mappings, and no endpoints that were cut before: those end after two minutes, in one namespace a little
    before the other, which an emulated machine can see."""
    for driver, host in pair:
        driver.apply(Refill(()))
        host.nft("flush set inet upnp_gw cut; flush set inet upnp_gw cut6")


def listing(host: Host) -> Any:
    """The table as nft lists it, without what the clock and the order of making it decide."""
    text = host.run(["nft", "-j", "list", "table", "inet", "upnp_gw"]).stdout
    listed = json.loads(re.sub(r'"(handle|expires|packets|bytes)": \d+', r'"\1": 0', text))["nftables"]
    for one in listed:
        for of_set in ("set", "map"):
            if of_set in one and "elem" in one[of_set]:
                one[of_set]["elem"].sort(key=json.dumps)
    return listed


def assert_same(pair: Pair) -> None:
    (ours, our_host), (theirs, their_host) = pair
    assert listing(our_host) == listing(their_host)
    ours_now, theirs_now = ours.read(), theirs.read()
    assert set(ours_now.left_s) == set(theirs_now.left_s)
    assert all(abs(left - theirs_now.left_s[name]) < APART_S for name, left in ours_now.left_s.items())


@pytest.mark.parametrize("name", CASES)
def test_nft_lists_the_same_for_every_kind_of_change(pair: Pair, name: str) -> None:
    begin_anew(pair)
    for batch in CASES[name]:
        for driver, _ in pair:
            driver.apply(*batch)
        assert_same(pair)


@hypothesis_settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would ask the kernel for minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(BATCHES, st.booleans())
def test_nft_lists_the_same_after_any_batches(pair: Pair, batches: list[list[Change]], network: bool) -> None:
    begin_anew(pair)
    if network:  # through libnftables with either
        batches.append([UpdateNetwork(replace(NETWORK, external=())), Open(forward("m9", 2000))])
        batches.append([UpdateNetwork(NETWORK)])
    for batch in held(batches):
        refused = []
        for driver, _ in pair:
            try:
                driver.apply(*batch)
            except FirewallError:
                refused.append(driver.firewall)
        assert len(refused) in (0, 2), batch
    assert_same(pair)


@pytest.fixture(params=list(Writing))
def real(namespaces: None, request: pytest.FixtureRequest) -> Iterator[tuple[Real, Host, Writing]]:
    host = Host("bare")
    try:
        with driving(NftablesFirewall(writing=request.param), host) as driver:
            driver.open(settings(size=4))
            yield driver, host, request.param
    finally:
        host.close()


@pytest.mark.spec("SR-5")
def test_a_foreign_element_in_the_place_of_a_mapping(real: tuple[Real, Host, Writing]) -> None:
    """Another program has put its own target behind the port: the kernel refuses another one for the same key."""
    driver, host, writing = real
    host.nft("add element inet upnp_gw pm { tcp . 82 timeout 1h : 192.168.77.99 . 22 }")
    wanted = [forward(f"m{n}", 80 + n) for n in range(4)]
    with pytest.raises(FirewallError, match="File exists") as refused:
        driver.apply(*map(Open, wanted))
    if writing is Writing.NETLINK:
        assert isinstance(refused.value, ElementRefused)
        assert refused.value.slot == slot_of(wanted[2])
        assert "(adding to pm, mapping m2)" in str(refused.value)
    driver.apply(*(Open(one) for one in wanted if one.id != "m2"))
    assert driver.ids() - {""} == {"m0", "m1", "m3"}


@pytest.mark.spec("SR-5")
def test_a_map_that_another_program_has_filled(real: tuple[Real, Host, Writing]) -> None:
    driver, host, writing = real
    taken = ", ".join(f"tcp . {n} timeout 1h : 192.168.77.99 . 22" for n in range(1, 8))
    host.nft(f"add element inet upnp_gw pm {{ {taken} }}")
    with pytest.raises(FirewallError, match="a map is full") as refused:
        driver.apply(Open(forward("m1", 80)), Open(forward("m2", 81)), Open(forward("m3", 82)))
    if writing is Writing.NETLINK:
        assert isinstance(refused.value, ElementRefused)
        assert "(adding to pm, mapping m2)" in str(refused.value)
    driver.apply(Open(forward("m1", 80)))
    assert "m1" in driver.ids()


def test_a_table_that_is_gone(real: tuple[Real, Host, Writing]) -> None:
    driver, host, _ = real
    driver.apply(Open(forward("m1", 80)))
    host.nft("delete table inet upnp_gw")
    for _ in range(2):
        with pytest.raises(FirewallError, match="No such file or directory"):
            driver.apply(Open(forward("m2", 81)))
        with pytest.raises(FirewallError, match="No such file or directory"):
            driver.apply(Close(forward("m1", 80)))
    driver.open(settings(size=4))
    driver.apply(Refill((forward("m3", 82),)))
    assert driver.ids() == {"m3"}


@pytest.mark.parametrize("real", [Writing.NETLINK], indirect=True)
def test_more_errors_than_the_socket_holds_are_one_error(real: tuple[Real, Host, Writing]) -> None:
    """Each message is refused: the first error counts, and none is left for the next batch."""
    driver, host, _ = real
    driver.open(settings(size=5_000))
    writer = driver.firewall._writer
    assert isinstance(writer, NetlinkWriter)
    writer._socket._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    host.nft("delete table inet upnp_gw")
    with pytest.raises(FirewallError, match="No such file or directory"):
        driver.apply(Refill(tuple(forward(f"m{n}", 1 + n) for n in range(2000))))
    driver.open(settings(size=5_000))
    driver.apply(Open(forward("m1", 80)))
    assert driver.ids() == {"m1"}


@pytest.mark.parametrize("real", [Writing.NETLINK], indirect=True)
@pytest.mark.parametrize("portions", [False, True], ids=["one-transaction", "portions"])
def test_a_large_refill(real: tuple[Real, Host, Writing], monkeypatch: pytest.MonkeyPatch, portions: bool) -> None:
    """In one transaction, or in portions where the socket cannot be made larger (root of a user namespace)."""
    driver = real[0]
    sent: list[int] = []
    send = netlink.BatchSocket.send_batch

    def send_batch(self: netlink.BatchSocket, batch: bytes) -> list[netlink.Failure]:
        failures = send(self, batch)
        sent.append(len(batch))
        return failures

    monkeypatch.setattr(netlink.BatchSocket, "send_batch", send_batch)
    if portions:
        monkeypatch.setattr(netlink.BatchSocket, "_enlarge", lambda self, size: None)
    driver.open(settings(size=5_000))
    driver.apply(*map(Open, EVERY_KIND))
    many = (*(forward(f"n{n}", 10_000 + n, f"192.168.78.{n % 250}") for n in range(4000)), *EVERY_KIND)
    del sent[:]
    driver.apply(Refill(many))
    assert driver.ids() == {one.id for one in many}
    assert (len(sent) > 1) is portions
    assert not portions or max(sent) < 212_992 - 32
    assert driver.foreign_changes == []
