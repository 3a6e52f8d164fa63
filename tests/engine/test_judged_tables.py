"""The code that follows rules of other tables is not loaded where there are none, and has to answer the same."""

from ipaddress import ip_interface

import pytest

from upnp_gw.engine.judged_tables import judged
from upnp_gw.engine.table_effects import NOTHING
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Link, Network

NETWORK = Network(
    Link("wan0", 1, True, (ip_interface("11.22.33.44/24"),)),
    (Link("lan0", 2, True, (ip_interface("192.168.77.1/24"), ip_interface("fe80::1/64"))),),
)


@pytest.mark.parametrize("router", [True, False])
def test_no_tables_have_no_effects(router: bool) -> None:
    assert judged({"nftables": []}, NETWORK, [(Transport.UDP, 1900)], router) == NOTHING
