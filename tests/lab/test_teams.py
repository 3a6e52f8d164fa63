"""The example of three teams on a firewall without NAT, as its files are, with addresses of the lab."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from tests import ROOT
from tests.lab.end_to_end import REACHED_S, SHUT_S, TCP, UDP, Home, served_home
from tests.lab.office import listening, pcp
from upnp_gw.lab import Host, Lan, LanHost, Router, Topology
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.pcp.messages import Response, ResultCode

pytestmark = pytest.mark.lab

IN_THE_LAB = {
    "203.0.113.": "11.60.113.",
    "2001:db8:113": "2a11:2233:113",
    "198.51.100.40": "11.50.1.10",  # the partner's host is peer1
}
MAC = "02:00:00:00"


def lan(interface: str, network: str, part: str, *hosts: LanHost, routers: tuple[Router, ...] = ()) -> Lan:
    six, ula = IPv6Network(f"2a11:2233:113:{part}::/64"), IPv6Network(f"fd77:7777:7777:{part}::/64")
    return Lan(interface, IPv4Network(network), six, ula, hosts, routers)


LAB = lan(
    "lan0", "11.60.113.128/26", "2", LanHost("bench1", 2, f"{MAC}:03:01"), LanHost("laptop", 22, f"{MAC}:03:02")
)
INNER = Router(LanHost("inner", 2, f"{MAC}:02:ee"), LAB)
TOPOLOGY = Topology(
    lans=(
        lan("dmz", "11.60.113.0/26", "0", LanHost("www1", 10, f"{MAC}:01:01"), LanHost("www2", 11, f"{MAC}:01:02")),
        lan("data", "11.60.113.64/26", "1", LanHost("db", 7, f"{MAC}:02:02"), routers=(INNER,)),
        lan("guests", "192.168.20.0/24", "3", LanHost("guest", 10, f"{MAC}:04:01")),
    )
)
GATEWAYS = {"www": "11.60.113.1", "db": "11.60.113.65", "lab": "11.60.113.65", "guest": "192.168.20.1"}


def example(name: str) -> str:
    text = (ROOT / "examples" / name / "teams.toml").read_text("utf-8")
    for public, here in IN_THE_LAB.items():
        text = text.replace(public, here)
    return text


@pytest.fixture(scope="module")
def teams(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(
        tmp_path_factory.mktemp("d"), topology=TOPOLOGY, config=example("config"), policy=example("policies")
    ) as home:
        yield home


def host(home: Home, name: str) -> Host:
    return home.lab.hosts[name]


def test_both_web_servers_have_443_and_no_other_teams_port(teams: Home) -> None:
    www1, www2 = host(teams, "www1"), host(teams, "www2")
    with listening((www1, TCP, 443), (www2, TCP, 443)):
        for server in (www1, www2):
            assert not reach(teams.peer, TCP, server.address, 443, timeout=SHUT_S)
            assert asked(server, 443, "www").result == ResultCode.SUCCESS
            assert reach(teams.peer, TCP, server.address, 443, timeout=REACHED_S).answered_by == server.name
    assert asked(www1, 9000, "www").result == ResultCode.NOT_AUTHORIZED
    assert asked(www1, 22, "www").result == ResultCode.NOT_AUTHORIZED
    assert [row["rule"] for row in teams.rows()] == ["web-www", "web-www"]


def test_a_service_for_one_host_of_the_partner(teams: Home) -> None:
    database = host(teams, "db")
    with listening((database, TCP, 5432)):
        assert asked(database, 5432, "db").result == ResultCode.SUCCESS
        assert reach(teams.peer, TCP, database.address, 5432, timeout=REACHED_S)
        other = host(teams, "peer2")
        assert not reach(other, TCP, database.address, 5432, timeout=SHUT_S)


def test_a_machine_behind_the_labs_router(teams: Home) -> None:
    bench = host(teams, "bench1")
    with listening((bench, UDP, 5201)):
        answer = asked(bench, 5201, "lab", UDP, 43200)
        assert (answer.result, answer.lifetime_s) == (ResultCode.SUCCESS, 7200)
        assert reach(teams.peer, UDP, bench.address, 5201, timeout=REACHED_S).answered_by == "bench1"


def test_a_notebook_opens_after_an_answer(teams: Home) -> None:
    laptop = host(teams, "laptop")
    with listening((laptop, TCP, 8888)):
        assert asked(laptop, 8888, "lab").result != ResultCode.SUCCESS
        (question,) = teams.daemon.json("queue")
        assert not reach(teams.peer, TCP, laptop.address, 8888, timeout=SHUT_S)
        teams.daemon.cli("approve", str(question["number"]))
        assert asked(laptop, 8888, "lab").result == ResultCode.SUCCESS
        assert reach(teams.peer, TCP, laptop.address, 8888, timeout=REACHED_S).answered_by == "laptop"


def test_guests_are_translated_and_open_nothing(teams: Home) -> None:
    guest, peer = host(teams, "guest"), teams.peer
    assert asked(guest, 8888, "guest").result == ResultCode.NOT_AUTHORIZED
    with EchoServer(peer, TCP, 80):
        assert reach(guest, TCP, peer.address, 80, timeout=REACHED_S).seen_from == teams.lab.external[0]
        for name in ("www1", "bench1"):
            one = host(teams, name)
            assert reach(one, TCP, peer.address, 80, timeout=REACHED_S).seen_from == one.address


def asked(client: Host, port: int, lan: str, transport: Transport = TCP, lifetime: int = 600) -> Response:
    """The answer to a PCP MAP of this host."""
    return pcp(client, port, lifetime, transport=transport, server=IPv4Address(GATEWAYS[lan]))
