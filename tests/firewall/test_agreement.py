"""The memory firewall and the real one agree after any sequence of changes, refused batches among them."""

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.fixtures.firewall_driver import Driver, driving, forward, pinhole, settings
from upnp_gw.firewall.base import Change, Close, Cut, Forward, Open, Refill
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.lab import Host
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab
SIZE = 5
REMOTES = (None, "203.0.113.7/32", "203.0.113.0/24")
PORT_MAPPINGS = st.builds(
    lambda number, port, host, inner, remote, transport, external, keep: forward(
        f"m{number}",
        port,
        f"192.168.77.{host}",
        inner,
        remote=remote,
        transport=transport,
        external=external,
        keep=keep,
    ),
    st.integers(1, 7),
    st.integers(1000, 1003),
    st.integers(10, 11),
    st.integers(3074, 3075),
    st.sampled_from(REMOTES),
    st.sampled_from(Transport),
    st.sampled_from([None, IPv4Address("11.22.33.44")]),
    st.booleans(),
)
PINHOLES = st.builds(
    lambda number, port, host, remote, transport: pinhole(
        f"m{number}", port, f"192.168.77.{host}", remote=remote, transport=transport
    ),
    st.integers(1, 7),
    st.integers(3074, 3075),
    st.integers(10, 11),
    st.sampled_from(REMOTES),
    st.sampled_from(Transport),
)
FORWARDS = st.one_of(PORT_MAPPINGS, PINHOLES)
STEPS = st.one_of(
    st.builds(Open, FORWARDS),
    st.builds(Close, FORWARDS),
    st.builds(Cut, FORWARDS),
)
BATCHES = st.lists(st.lists(STEPS, min_size=1, max_size=4), max_size=12)


@pytest.fixture(scope="module")
def pair(namespaces: None) -> Iterator[tuple[Driver[NftablesFirewall], Driver[MemoryFirewall]]]:
    host = Host("bare")
    with ExitStack() as stack:
        stack.callback(host.close)
        real = stack.enter_context(driving(NftablesFirewall(), host))
        model = stack.enter_context(driving(MemoryFirewall()))
        for each in (real, model):
            each.open(settings(size=SIZE))
        yield real, model


def held(batches: list[list[Change]]) -> list[list[Change]]:
    """Closes have the forward that is open, as the ledger's do."""
    open_forwards: dict[str, Forward] = {}
    for batch in batches:
        for at, change in enumerate(batch):
            match change:
                case Open(new):
                    open_forwards[new.id] = new
                case Close(old):
                    batch[at] = Close(open_forwards.pop(old.id, old))
    return batches


@hypothesis_settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would ask the kernel for minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(BATCHES)
def test_both_hold_the_same(
    pair: tuple[Driver[NftablesFirewall], Driver[MemoryFirewall]], batches: list[list[Change]]
) -> None:
    real, model = pair
    for each in pair:
        each.apply(Refill(()))
    for batch in held(batches):
        taken: list[str] = []
        for each in pair:
            try:
                each.apply(*batch)
            except FirewallError as error:
                taken.append(str(error))
            else:
                taken.append("")
        assert bool(taken[0]) == bool(taken[1]), (taken, batch)
        assert real.ids() == model.ids()
    assert real.foreign_changes == []
