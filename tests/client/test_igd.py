"""The ports that the client tries at a gateway of UPnP IGD."""

import pytest

from upnp_gw.client.igd import OTHER_PORTS, tried_ports


@pytest.mark.parametrize(("first", "internal"), [(8080, 8080), (8080, 80), (1, 65535)])
def test_the_internal_port_is_tried_second(first: int, internal: int) -> None:
    ports = tried_ports(first, internal)
    assert ports[0] == first
    assert internal in ports[:2]
    assert len(set(ports)) == len(ports) == OTHER_PORTS + 1
    assert all(1024 <= port <= 65535 for port in ports if port not in (first, internal))
