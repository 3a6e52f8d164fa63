"""The peers of each mapping, as the kernel shows them: those with an answer, of both transports and families."""

import pytest

from tests.fixtures.firewall_driver import Driver, forward, settings
from tests.fixtures.lab_firewall import Gateway
from upnp_gw.firewall import conntrack_dumps
from upnp_gw.firewall.base import Firewall, Forward, Open
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.model.mapping import IPAddress, Transport

pytestmark = pytest.mark.lab

TCP, UDP = Transport.TCP, Transport.UDP


def peers(gateway: Gateway) -> dict[str, frozenset[IPAddress]]:
    remotes = gateway.do(gateway.firewall.read(remotes=True)).remotes
    assert remotes is not None
    return dict(remotes)


@pytest.mark.parametrize(
    ("few", "ports"), [(3000, 3), (0, 100), (0, 3)], ids=["one dump", "filtered by port", "filtered by status"]
)
def test_peers_are_listed_by_forward_and_a_probe_is_none(
    router: Gateway, fresh_lab: Lab, few: int, ports: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conntrack_dumps, "FEW_ENTRIES", few)
    monkeypatch.setattr(conntrack_dumps, "PORTS_MOST", ports)
    lab = fresh_lab
    console, one, two = lab.hosts["console"], lab.hosts["peer1"], lab.hosts["peer2"]
    v4, v6 = str(console.address), str(console.address6)
    forwards: list[Forward] = [
        forward("m1", 4074, v4, 3074),
        forward("m2", 4074, v4, 3074, transport=UDP),
        forward("m3", 4075, v4, 3075),
        forward("m4", 4076, v4, 3076, transport=UDP),
        forward("m5", 3074, v6),
        forward("m6", 4080, v4, 3074, remote=f"{two.address}/32", keep=False),
    ]
    router.apply(*map(Open, forwards))
    assert peers(router) == {}
    with EchoServer(console, TCP, 3074), EchoServer(console, UDP, 3074):
        for peer in (one, two):
            assert reach(peer, TCP, lab.external[0], 4074)
        assert reach(two, UDP, lab.external[0], 4074)
        assert reach(one, TCP, console.address6, 3074)
        assert reach(two, TCP, lab.external[0], 4080)
        assert not reach(one, TCP, lab.external[0], 4075), "nobody listens there"
        assert not reach(one, UDP, lab.external[0], 4076)
    assert peers(router) == {
        "m1": {one.address, two.address},
        "m2": {two.address},
        "m5": {one.address6},
        "m6": {two.address},
    }


def test_peers_are_read_only_on_request(any_firewall: Driver[Firewall]) -> None:
    any_firewall.open(settings())
    any_firewall.apply(Open(forward()))
    assert any_firewall.read().remotes is None
    assert any_firewall.do(any_firewall.firewall.read(remotes=True)).remotes == {}
