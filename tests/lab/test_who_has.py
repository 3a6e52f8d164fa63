"""The gateway asks a link who has an address: it hears every host of that link, and no host of another."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

import pytest

from tests.fixtures.waiting import EVENT_S
from tests.lab.neighbour_forgery import claim, confirm
from upnp_gw.lab import CONSOLE, GUEST, HOME, PC, Lab, Topology
from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.rtnetlink_socket import Rtnetlink
from upnp_gw.system.who_has import MOST_ANSWERS, QuerySource, SocketQuery, WhoHas

pytestmark = [pytest.mark.lab, pytest.mark.spec("SR-2", "SR-43")]

GUEST_SIDE = "02:00:77:00:00:02"
"""The gateway's MAC address on the guest LAN."""
OLD_OPTMEM = 20480
"""net.core.optmem_max of Linux before 6.7: the room for a socket's filter, bytes."""


@pytest.fixture(scope="module")
def two_lans(namespaces: None) -> Iterator[Lab]:
    with Lab(Topology(lans=(HOME, GUEST))) as lab:
        yield lab


@pytest.fixture(params=["address", "address6"], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def asking(lab: Lab) -> AsyncIterator[WhoHas]:
    with lab.gateway.inside():
        made = WhoHas()
    made.start()
    try:
        yield made
    finally:
        made.close()


def begin(lab: Lab, who_has: WhoHas, address: IPAddress, interface: str = "lan0") -> SocketQuery:
    with lab.gateway.inside(), Rtnetlink() as kernel:
        link = kernel.link(interface)
    assert link is not None
    assert link.mac is not None
    own = lab.topology.lans[0 if interface == "lan0" else 1].network[1] if address.version == 4 else None
    return who_has.open_query(QuerySource(interface, link.index, link.mac, own), address)


async def answers(query: SocketQuery, number: int) -> set[str]:
    """So many hosts, or those that are heard within ten seconds."""
    async with asyncio.timeout(EVENT_S):
        while len(query.answers) < number:
            query.new_answer.clear()
            await query.new_answer.wait()
    return set(query.answers)


async def answers_when_asked_again(query: SocketQuery, mac: str, number: int) -> set[str]:
    """So many hosts: a host answers for a new IPv6 address once its kernel has joined the group of it."""
    async with asyncio.timeout(EVENT_S):
        while len(query.answers) < number:
            query.new_answer.clear()
            query.ask(mac)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await query.new_answer.wait()
    return set(query.answers)


async def test_answers_of_two_hosts_are_both_read(two_lans: Lab, family: str) -> None:
    """The kernel's neighbour table hears one of them."""
    console, pc = two_lans.hosts["console"], two_lans.hosts["pc"]
    address: IPAddress = getattr(console, family)
    length = address.max_prefixlen
    async with asking(two_lans) as who_has:
        query = begin(two_lans, who_has, address)
        query.ask(CONSOLE.mac)
        assert await answers(query, 1) == {CONSOLE.mac}
        pc.ip(f"addr add {address}/{length} dev eth0" + " nodad" * (length == 128))
        try:
            assert await answers_when_asked_again(query, CONSOLE.mac, 2) == {CONSOLE.mac, PC.mac}
        finally:
            pc.ip(f"addr del {address}/{length} dev eth0")
        query.close()


async def test_a_message_about_another_address_or_link_is_no_answer(two_lans: Lab, family: str) -> None:
    guest, pc, gateway = two_lans.hosts["guest"], two_lans.hosts["pc"], two_lans.gateway
    address: IPAddress = getattr(two_lans.hosts["console"], family)
    async with asking(two_lans) as who_has:
        query = begin(two_lans, who_has, address)
        confirm(guest, address, gateway, side=GUEST_SIDE, times=3)
        confirm(pc, getattr(pc, family), gateway, times=3)
        query.ask()
        assert await answers(query, 1) == {CONSOLE.mac}, "those before it were not let through"
        query.close()


async def test_a_flood_of_answers_is_read_once(two_lans: Lab, family: str) -> None:
    """A host that says so a thousand times takes nobody's place; nor do a thousand hosts."""
    pc, gateway = two_lans.hosts["pc"], two_lans.gateway
    address: IPAddress = getattr(two_lans.hosts["console"], family)
    async with asking(two_lans) as who_has:
        query = begin(two_lans, who_has, address)
        confirm(pc, address, gateway, times=5000)
        assert await answers(query, 1) == {PC.mac}
        confirm(pc, address, gateway, times=1000)
        query.ask()
        assert await answers(query, 2) == {PC.mac, CONSOLE.mac}
        for number in range(20):
            confirm(pc, address, gateway, f"02:00:00:00:00:{number:02x}")
        await answers(query, MOST_ANSWERS)
        assert len(query.answers) == MOST_ANSWERS
        query.close()


async def test_without_an_open_query_nothing_is_read(two_lans: Lab, family: str) -> None:
    pc, gateway = two_lans.hosts["pc"], two_lans.gateway
    address: IPAddress = getattr(two_lans.hosts["console"], family)
    async with asking(two_lans) as who_has:
        begin(two_lans, who_has, address).close()
        claim(pc, address, gateway)
        confirm(pc, address, gateway)
        query = begin(two_lans, who_has, address)
        query.ask()
        assert await answers(query, 1) == {CONSOLE.mac}
        query.close()


async def test_two_questions_about_one_address_both_hear_the_answer(two_lans: Lab, family: str) -> None:
    address: IPAddress = getattr(two_lans.hosts["console"], family)
    async with asking(two_lans) as who_has:
        first = begin(two_lans, who_has, address)
        first.ask()
        await answers(first, 1)
        second = begin(two_lans, who_has, address)
        second.ask()
        assert await answers(second, 1) == {CONSOLE.mac}
        first.close()
        second.close()


@pytest.mark.parametrize("first", [ip_address("10.0.0.2"), HOME.network6[2]], ids=["IPv4", "IPv6"])
async def test_the_kernel_has_room_for_many_queries_and_reports_when_it_is_full(
    two_lans: Lab, first: IPAddress
) -> None:
    with suppress(FileNotFoundError):  # before 6.7 it is the whole machine's, and as small
        two_lans.gateway.sysctl("net/core/optmem_max", str(OLD_OPTMEM))
    async with asking(two_lans) as who_has:
        opened: list[SocketQuery] = []
        assert until_it_refuses(lambda: opened.append(begin(two_lans, who_has, first + len(opened))))
        assert len(opened) > 64
        opened[0].close()
        begin(two_lans, who_has, first).close()


def until_it_refuses(more: Callable[[], None]) -> bool:
    """True where the kernel says that it has no room; False: it never does."""
    for _ in range(1000):
        try:
            more()
        except OSError as error:
            return error.errno == errno.ENOMEM
    return False
