"""An address that two hosts claim: nothing from the internet reaches either of them through a mapping to it.

Proved by connections from the internet, counted at the host whose answer comes back. IPv4 and IPv6, every protocol.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import count

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, ROUTER, SHUT_S, TCP, UDP, Home, served_home
from tests.lab.igd_control_point import Fault
from tests.lab.neighbour_forgery import claim, confirm
from upnp_gw.lab import Host, LanHost
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import ANY_IPV4, ANY_IPV6, MapData, Request

pytestmark = [pytest.mark.lab, pytest.mark.spec("SR-2", "SR-43")]

IGD, NATPMP, PCP, OPERATOR, PINHOLE, PCP6 = 8088, 8089, 8090, 8091, 8092, 8093
IPV4_PORTS, IPV6_PORTS = (IGD, NATPMP, PCP, OPERATOR), (PINHOLE, PCP6)
PORTS = (*IPV4_PORTS, *IPV6_PORTS)
OBSERVED_S = 2.5
"""Seconds for which the internet calls while two hosts claim the address."""
NOTICED_S = 10.0
"""Until the gateway has seen both claims and shut the mappings, on a loaded machine; an idle one takes 0.3 s."""
SETTLED_S = 30.0
"""Two hosts that answered are asked again after ten seconds."""
NUMBERS = count(31)


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER) as home:
        for family in ("ipv4", "ipv6"):  # a neighbour that is silent is given up after 2 s, not after 8
            home.gateway.sysctl(f"net/{family}/neigh/lan0/delay_first_probe_time", "1")
            home.gateway.sysctl(f"net/{family}/neigh/lan0/retrans_time_ms", "300")
            home.gateway.sysctl(f"net/{family}/neigh/lan0/base_reachable_time_ms", "1000")
        yield home


@pytest.fixture(scope="module")
def listening(module_home: Home) -> Iterator[None]:
    """The PC, which is the hostile one, answers on every port."""
    with answering(module_home.pc):
        yield


@contextmanager
def answering(host: Host) -> Iterator[None]:
    with ExitStack() as stack:
        for port in PORTS:
            stack.enter_context(EchoServer(host, transport_of(port), port))
        yield


@pytest.fixture
def home(module_home: Home, listening: None) -> Iterator[Home]:
    yield module_home
    module_home.clear()


@pytest.fixture
def owner(home: Home) -> Iterator[Host]:
    """The owner of the addresses: a new host for each test, so its address was never contested before."""
    number = next(NUMBERS)
    made = home.lab.add_host("lan0", LanHost(f"owner{number}", number, f"02:00:77:aa:00:{number:02x}"))
    with answering(made):
        yield made


# -- what hosts do


def speak(home: Home, host: Host, *own: IPAddress) -> None:
    """A host looks for the gateway anew, from these addresses of its own, and says a word to it."""
    host.ip(f"neigh flush dev {host.interface}")
    for address in own:
        version = address.version
        with (
            host.inside(),
            socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as out,
        ):
            out.bind((str(address), 0))
            out.sendto(b"hello", (str(home.gateway.address if version == 4 else home.gateway.address6), 9))


@contextmanager
def addresses_taken(home: Home, thief: Host, owner: Host) -> Iterator[None]:
    """Another host gives itself the addresses of a host, and speaks from them."""
    four, six, gateway = owner.address, owner.address6, home.gateway
    commands = (
        f"addr {{}} {four}/32 dev {thief.interface}",
        f"route {{}} {gateway.address}/32 dev {thief.interface} src {four}",
        f"addr {{}} {six}/128 dev {thief.interface} nodad",
        f"route {{}} {gateway.address6}/128 dev {thief.interface} src {six}",
    )
    thief.ip(*(command.format("add") for command in commands))
    thief.ip(f"route replace default via {gateway.address} src {four}")  # for answers over UDP
    try:
        speak(home, thief, four, six)
        yield
    finally:
        thief.ip(f"route replace default via {gateway.address} src {thief.address}")
        thief.ip(*(command.format("del").replace(" nodad", "") for command in reversed(commands)))


@contextmanager
def both_speak(home: Home, owner: Host, *hosts: Host) -> Iterator[None]:
    """Every host speaks from the owner's addresses, again and again."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.3):
            for host in hosts:
                speak(home, host, owner.address, owner.address6)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def maps_everything(home: Home, host: Host, owner: Host) -> None:
    """A host maps a port of the owner's addresses by each protocol, and the operator one more."""
    four, six = owner.address, owner.address6
    maps_by_igd(home, host, owner)
    by_natpmp(home, host, four)
    by_pcp(home, host, four, home.gateway.address, PCP)
    home.daemon.cli("add", "tcp", str(OPERATOR), str(four))
    maps_a_pinhole(home, host, owner)
    by_pcp(home, host, six, home.gateway.address6, PCP6)


def maps_by_igd(home: Home, host: Host, owner: Host) -> None:
    home.point(host.name, IgdVersion.IGD2).add(IGD, NewInternalClient=owner.address)


def maps_a_pinhole(home: Home, host: Host, owner: Host) -> None:
    values = {"RemoteHost": "", "RemotePort": 0, "Protocol": 6, "LeaseTime": 600, "InternalPort": PINHOLE}
    point = home.point(host.name, IgdVersion.IGD2)
    point.call("AddPinhole", "WANIPv6FirewallControl", InternalClient=owner.address6, **values)


def answer_to(host: Host, own: IPAddress, server: IPAddress, message: bytes) -> bytes:
    """The answer to a datagram to port 5351, asked again as clients do. Raises TimeoutError."""
    family = socket.AF_INET if own.version == 4 else socket.AF_INET6
    with host.inside(), socket.socket(family, socket.SOCK_DGRAM) as line:
        line.bind((str(own), 0))
        line.connect((str(server), 5351))
        for wait in (0.25, 0.5, 1.0, 2.0):
            line.settimeout(wait)
            line.send(message)
            try:
                return line.recv(2000)
            except TimeoutError:
                continue
    raise TimeoutError


def by_natpmp(home: Home, host: Host, own: IPv4Address) -> None:
    answer = answer_to(
        host, own, home.gateway.address, natpmp.build_request(natpmp.MappingRequest(UDP, NATPMP, NATPMP, 600))
    )
    assert answer[3] == 0, answer


def by_pcp(home: Home, host: Host, own: IPAddress, server: IPAddress, port: int) -> None:
    data = MapData(b"labnonce0123", TCP.number, port, port, ANY_IPV4 if own.version == 4 else ANY_IPV6)
    answer = codec.parse_response(answer_to(host, own, server, codec.build_request(Request(600, own, data))))
    assert answer.result == 0, answer


# -- what the internet sees


@dataclass
class Calls:
    """Records which host answered the calls from the internet, and when."""

    answers: list[tuple[float, int, str]] = field(default_factory=list)
    """(when the call began in monotonic seconds, port, name of the host)"""
    made: int = 0

    def of(self, host: Host, since: float = 0.0) -> list[tuple[float, int, str]]:
        return [answer for answer in self.answers if answer[2] == host.name and answer[0] >= since]


@contextmanager
def calling(home: Home, owner: Host, *ports: int) -> Iterator[Calls]:
    """The internet calls these ports of the owner, or all, without pause."""
    calls, over = Calls(), threading.Event()

    def go_on(port: int) -> None:
        while not over.is_set():
            calls.made += 1
            began = time.monotonic()
            name = call(home, owner, port)
            if name:
                calls.answers.append((began, port, name))

    threads = [threading.Thread(target=go_on, args=(port,)) for port in ports or PORTS]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        over.set()
        for thread in threads:
            thread.join()


def call(home: Home, owner: Host, port: int, timeout: float = 0.1) -> str:
    """The name of the host that answers one call; empty: none."""
    address = owner.address6 if port in IPV6_PORTS else home.external
    return reach(home.peer, transport_of(port), address, port, timeout=timeout).answered_by


def transport_of(port: int) -> Transport:
    return UDP if port == NATPMP else TCP


def states(home: Home) -> dict[int, str]:
    return {row["external_port"]: row["state"] for row in home.rows()}


def all_are(home: Home, state: str) -> Callable[[], bool]:
    return lambda: states(home) == dict.fromkeys(PORTS, state)


def entries(home: Home) -> dict[str, str]:
    """Address -> the MAC address that the gateway's kernel sends to."""
    listing = home.gateway.run(["ip", "neigh", "show", "dev", "lan0"]).stdout.splitlines()
    found = [line.split() for line in listing if "lladdr" in line]
    return {words[0]: words[words.index("lladdr") + 1] for words in found}


def leads_to(home: Home, owner: Host, host: Host) -> Callable[[], bool]:
    """The gateway's kernel takes a host's addresses for this one's."""
    return lambda: all(entries(home).get(str(a)) == host.mac for a in (owner.address, owner.address6))


def reached(home: Home, owner: Host, timeout: float = REACHED_S) -> dict[int, str]:
    """The name of the host that answers on each port."""
    return {port: call(home, owner, port, timeout) for port in PORTS}


def warned(home: Home, owner: Host) -> list[str]:
    """The log lines that name the claimants of the owner's IPv4 address."""
    return [line for line in home.daemon.output if f"{owner.address} on lan0 is claimed by" in line]


# -- the owner comes back to an address that another host took


def test_an_owner_that_returns_is_not_reached_by_mappings_of_another_host(home: Home, owner: Host) -> None:
    """And does not inherit them when the other host gives the address up, as RFC 5227 has it."""
    pc = home.pc
    with ExitStack() as stack:
        away = stack.enter_context(ExitStack())
        away.enter_context(home.lab.unplugged(owner.name))
        leaves = stack.enter_context(ExitStack())
        leaves.enter_context(addresses_taken(home, pc, owner))
        assert until(leads_to(home, owner, pc))
        maps_everything(home, pc, owner)
        assert reached(home, owner) == dict.fromkeys(PORTS, "pc")
        watch = stack.enter_context(home.watch())
        with calling(home, owner) as calls, dial(home.peer, UDP, home.external, NATPMP) as flow:
            assert flow.ask().answered_by == "pc"
            away.close()
            with both_speak(home, owner, owner, pc):
                for port in PORTS:
                    watch.wait("changed", NOTICED_S, external_port=port, state="contested")
                shut_at = time.monotonic()
                time.sleep(OBSERVED_S)
                goes_on = flow.ask()
        late = calls.of(owner, shut_at)
        assert not late, f"{len(late)} of {calls.made} calls reached the owner, by {sorted({w[1] for w in late})}"
        assert not goes_on, "a flow that began before goes on"
        assert not calls.of(pc, shut_at), "whose address it is is not known"
        assert all_are(home, "contested")()
        home.agree()
        leaves.close()
        for port in set(PORTS) - {OPERATOR}:
            watch.wait("removed", SETTLED_S, external_port=port, why="device-moved")
        assert reached(home, owner, timeout=SHUT_S) == dict.fromkeys(PORTS, "")
        assert states(home) == {OPERATOR: "parked"}, "the operator's own waits for the device that it was made for"
        maps_by_igd(home, owner, owner)
        assert call(home, owner, IGD, REACHED_S) == owner.name


# -- the owner has mappings, and another host claims its address


def test_mappings_to_a_contested_address_are_closed_until_it_is_settled(home: Home, owner: Host) -> None:
    pc = home.pc
    maps_everything(home, owner, owner)
    assert reached(home, owner) == dict.fromkeys(PORTS, owner.name)
    with home.watch() as watch, calling(home, owner) as calls:
        with addresses_taken(home, pc, owner), both_speak(home, owner, owner, pc):
            for port in PORTS:
                watch.wait("changed", NOTICED_S, external_port=port, state="contested")
            shut_at = time.monotonic()
            time.sleep(OBSERVED_S)
            contested_s = time.monotonic()
            assert all_are(home, "contested")()
            assert [r["state"] for r in home.daemon.json("list")] == ["contested"] * len(PORTS)
            (warning,) = [w for w in home.ask("GET", "/v1/status")["warnings"] if f"{owner.address} " in w]
            assert owner.mac in warning
            assert pc.mac in warning
            assert f"ip neigh replace {owner.address} lladdr MAC dev lan0 nud permanent" in warning
            assert len(warned(home, owner)) == 1
        watch.wait("changed", SETTLED_S, external_port=PCP6, state="active")
        assert until(all_are(home, "active"))
    assert not [answer for answer in calls.answers if shut_at < answer[0] < contested_s]
    assert reached(home, owner) == dict.fromkeys(PORTS, owner.name), "nobody had to ask for them again"
    assert len(warned(home, owner)) == 1


def test_one_forged_frame_shuts_the_mappings_of_its_owner_until_it_answers(home: Home, owner: Host) -> None:
    maps_everything(home, owner, owner)
    with home.watch() as watch, calling(home, owner) as calls:
        for address in (owner.address, owner.address6):
            claim(home.pc, address, home.gateway)
        watch.wait("changed", external_port=IGD, state="contested")
        watch.wait("changed", external_port=PINHOLE, state="contested")
        assert until(all_are(home, "active")), (states(home), home.daemon.output[-30:], entries(home))
        assert reached(home, owner) == dict.fromkeys(PORTS, owner.name)
    assert not calls.of(home.pc)
    assert leads_to(home, owner, owner)()


# -- a host that is there, and nobody had asked for


@pytest.mark.parametrize("proved", [False, True], ids=["claimed", "and-confirmed"])
def test_a_forged_claim_to_a_host_that_is_there_opens_nothing(home: Home, owner: Host, proved: bool) -> None:
    """The gateway has no neighbour entry of the host; the PC forges one and asks from its own address. A second
    frame has the kernel take it for proved."""
    home.point("pc", IgdVersion.IGD2)
    for address in (owner.address, owner.address6):
        claim(home.pc, address, home.gateway)
        if proved:
            confirm(home.pc, address, home.gateway)
    opens_nothing(home, owner)


def test_a_host_that_answers_for_the_address_of_one_that_answers_too_opens_nothing(home: Home, owner: Host) -> None:
    home.point("pc", IgdVersion.IGD2)
    with addresses_taken(home, home.pc, owner):
        opens_nothing(home, owner)
    with both_speak(home, owner, owner):  # an entry that failed meanwhile is made anew only for a host that speaks
        assert until(leads_to(home, owner, owner))


def opens_nothing(home: Home, owner: Host) -> None:
    """The PC asks for ports of the owner, over IPv4 and IPv6; the internet calls for as long as the gateway's
    kernel takes to find out who is there."""
    codes = []
    with calling(home, owner, IGD, PINHOLE) as calls:
        for ask in (maps_by_igd, maps_a_pinhole):
            try:
                ask(home, home.pc, owner)
            except Fault as fault:
                codes.append(fault.code)
        until(leads_to(home, owner, owner), 4.0)
    assert not calls.answers, f"{len(calls.answers)} of {calls.made} calls reached {calls.answers[-1][2]}"
    assert len(codes) == 2
    assert set(codes) <= {501, 606}, "not now, or, once the kernel knows, not the address of another"
    assert home.rows() == []
