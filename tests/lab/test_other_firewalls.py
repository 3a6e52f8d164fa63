"""Firewalls of others beside ours: what they do to our traffic is read as it changes, and told."""

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from tests.lab.igd_control_point import Fault, until
from tests.lab.whole_way import TCP, Home, home, masquerading
from upnp_gw.lab import CONSOLE, HOME, Lab
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab

AT_ONCE_S = 8.0
"""Much less than the 30 s after which other tables are read anyway."""
PRIVATE = IPv4Address("192.168.9.44")
PUBLISHED = 8443
CONTAINER_PORT = f"""
table ip containers {{
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
    iifname "wan0" tcp dport {PUBLISHED} dnat to {HOME.network[CONSOLE.number]}:{PUBLISHED};
  }}
}}
"""
CLOSED = """
table inet closed {
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept;
    iifname "lan0" accept;
  }
}
"""


@pytest.fixture(scope="module")
def here(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """It starts behind another router."""

    def behind_a_router(lab: Lab) -> None:
        masquerading(lab)
        lab.gateway.ip(f"addr add {PRIVATE}/24 dev wan0", f"addr del {lab.external[0]}/24 dev wan0")

    with home(tmp_path_factory.mktemp("d"), before=behind_a_router) as made:
        yield made


def logged(here: Home, *words: str) -> list[str]:
    return [line for line in here.daemon.output if all(word in line for word in words)]


def test_a_private_wan_address_is_logged_at_the_start(here: Home) -> None:
    assert until(lambda: len(logged(here, "WARNING", f"{PRIVATE} is not public (private (RFC 1918))")) == 1, 5)
    assert f"{PRIVATE} is not public" in " ".join(here.daemon.json("status")["warnings"])
    here.renumber_wan(here.external)
    assert until(lambda: bool(logged(here, "no longer", f"{PRIVATE} is not public")), AT_ONCE_S)
    assert f"{PRIVATE} is not public" not in " ".join(here.daemon.json("status")["warnings"])


@pytest.mark.spec("SR-24")
def test_a_port_that_is_published_a_moment_ago_is_not_granted(here: Home) -> None:
    pc = here.point("pc")

    def grantable() -> bool:
        try:
            pc.add(PUBLISHED)
        except Fault:
            return False
        pc.delete(PUBLISHED)
        return True

    assert grantable()
    here.gateway.nft(CONTAINER_PORT)
    try:
        assert until(lambda: not grantable(), AT_ONCE_S)
        with EchoServer(here.console, TCP, PUBLISHED):
            assert here.reach(PUBLISHED).answered_by == "console"
    finally:
        here.gateway.nft("delete table ip containers")
    assert until(grantable, AT_ONCE_S)


def test_a_forward_chain_of_others_that_drops_is_told_when_it_comes_and_when_it_goes(here: Home) -> None:
    def warned() -> list[str]:
        return [line for line in here.daemon.json("status")["warnings"] if "inet closed forward" in line]

    here.point().add(8080)
    with EchoServer(here.console, TCP, 8080):
        assert here.reach(8080)
        here.gateway.nft(CLOSED)
        try:
            assert until(lambda: len(warned()) == 2, AT_ONCE_S), "mappings, and pinholes"
            assert len(logged(here, "WARNING", "chain inet closed forward", "drops what is mapped")) == 1
            assert here.shut(8080)
            here.point("pc").add(8081)  # granted all the same: decision 25
            (line,) = [
                check["remedy"].partition(": ")[2]
                for check in here.ask("GET", "/v1/doctor")
                if "drops what is mapped" in check["finding"]
            ]
            here.gateway.run(line.split())
            assert here.reach(8080), "by the line that the doctor prints"
            assert until(lambda: len(warned()) == 1, AT_ONCE_S), "pinholes are still dropped"
        finally:
            here.gateway.nft("delete table inet closed")
    assert until(lambda: not warned(), AT_ONCE_S)
    assert logged(here, "INFO", "no longer: chain inet closed forward", "drops what a pinhole lets in")
    assert len(logged(here, "WARNING", "inet closed forward")) == 2, "each once"
