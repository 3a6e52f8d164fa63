"""The rows of the table and how each is measured, gateway after gateway in turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.bench import messages
from tests.bench.gateways import Gateway
from tests.bench.load import Request, RequestRefused, Result, at_once, datagrams_one_by_one, one_by_one
from tests.bench.samples import Point, Table
from upnp_gw.lab import Host

T = TypeVar("T")

ADD = "AddPortMapping"
REFRESH = "refresh, same request again"
GET = "GetSpecificPortMappingEntry"
DELETE = "DeletePortMapping"
NATPMP = "NAT-PMP map"
PCP = "PCP map"
RENEW = "PCP renew"
CROWD_RATE = "16 clients on 4 hosts adding, a second"
CROWD = "16 clients on 4 hosts adding, each"
WALK = "walk of 1,000 entries"
LISTING = "GetListOfPortMappings, 1,000 entries"
CPU = "CPU for 1,000 adds"
MEMORY = "resident memory"

OWN = 1_000
"""The first host has so many of the mappings that are there: it sees and lists its own only."""
LAST_PORT = 65_535
"""External port of the first of the mappings that are there; the others follow downwards."""
CHUNK = 100
CROWD_CLIENTS, CROWD_HOSTS = 16, 4
FILL_CLIENTS = 8
LOG_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """The number of rounds and requests that are measured."""

    rounds: int = 20
    """Rounds of each point; the gateways take turns in each."""
    block: int = 50
    """Requests of a row in a round, at most as many as a host has ports."""
    datagrams: int = 25
    """The same for the rows of UDP port 5351."""
    crowd_rounds: int = 3
    crowd: int = 400
    """Requests of all 16 clients in a round, at most 4 times the ports of a host."""
    walks: int = 3
    listings: int = 20
    flows: int = 100
    """New flows of each transport in a round."""

    @property
    def warm(self) -> "Plan":
        """One short round, which loads code and fills caches."""
        return Plan(1, min(10, self.block), min(5, self.datagrams), 1, CROWD_CLIENTS, 0, 0, 0)


def measure(
    table: Table, gateways: Sequence[Gateway], point: Point, plan: Plan, log: Callable[[str], None]
) -> None:
    """All rows at a point, into the table. The mappings and connections of the point are there already."""
    _rounds(Table(), gateways, point, plan.warm, lambda text: None)
    _rounds(table, gateways, point, plan, log)
    if point.mappings and not point.conntrack:
        log("lists")
        for gateway in gateways:
            _lists(table, gateway, point, plan)
    for gateway in gateways:
        table.add(gateway.name, MEMORY, point, "MiB", [gateway.memory_mib()])


def _rounds(
    table: Table, gateways: Sequence[Gateway], point: Point, plan: Plan, log: Callable[[str], None]
) -> None:
    for number in range(plan.rounds):
        if number % LOG_ROUNDS == 0:
            log(f"round {number + 1} of {plan.rounds}")
        for gateway in in_turn(gateways, number):
            _block(table, gateway, point, plan.block)
            if not point.conntrack:
                _datagram_block(table, gateway, point, plan.datagrams)
    log(f"{CROWD_CLIENTS} clients")
    for number in range(plan.crowd_rounds):
        for gateway in in_turn(gateways, number):
            _crowd(table, gateway, point, plan.crowd)


def in_turn(gateways: Sequence[T], number: int) -> list[T]:
    """Another one begins each round, so that no one always follows the same one."""
    first = number % len(gateways)
    return [*gateways[first:], *gateways[:first]]


def _block(table: Table, gateway: Gateway, point: Point, count: int) -> None:
    """New mappings of one client: added, refreshed, read, deleted."""
    (host,) = gateway.shares.richest(gateway.hosts[1:], 1)
    ports = gateway.ports(host)[:count]
    gateway.shares.spend(host, connections=4 * count, changes=3 * count)
    cpu = gateway.cpu_s()
    for row, make in ((ADD, gateway.add), (REFRESH, gateway.add), (GET, gateway.get), (DELETE, gateway.delete)):
        result = one_by_one(gateway.http, [make(host, port) for port in ports])
        _keep(table, gateway, row, point, result)
        if row == ADD:
            table.add(gateway.name, CPU, point, "s", [(gateway.cpu_s() - cpu) / count * 1000])


def _datagram_block(table: Table, gateway: Gateway, point: Point, count: int) -> None:
    (host,) = gateway.shares.richest(gateway.hosts[1:], 1)
    ports = gateway.ports(host)
    gateway.shares.spend(host, new_datagrams=2 * count, standing_datagrams=3 * count, changes=5 * count)

    def natpmp(port: int, lifetime_s: int) -> Request:
        return Request(host, messages.natpmp_map(port, lifetime_s))

    def pcp(port: int, lifetime_s: int) -> Request:
        return Request(host, messages.pcp_map(host.address, port, lifetime_s))

    for rows, make, own in (
        ((NATPMP,), natpmp, ports[:count]),
        ((PCP, RENEW), pcp, ports[count : 2 * count]),
    ):
        for row in rows:
            requests = [make(port, messages.LEASE_S) for port in own]
            _keep(table, gateway, row, point, datagrams_one_by_one(gateway.datagrams, requests))
        datagrams_one_by_one(gateway.datagrams, [make(port, 0) for port in own])


def _crowd(table: Table, gateway: Gateway, point: Point, count: int) -> None:
    """Four clients at once on each of four hosts. The mappings are deleted afterwards."""
    hosts = gateway.shares.richest(gateway.hosts[1:], CROWD_HOSTS)
    owned: list[tuple[Host, range]] = []
    for client in range(CROWD_CLIENTS):
        host = hosts[client % len(hosts)]
        own = gateway.ports(host)[: count // len(hosts)]
        owned.append((host, own[client // len(hosts) :: CROWD_CLIENTS // len(hosts)]))
    for host in hosts:
        share = 2 * count // len(hosts)
        gateway.shares.spend(host, connections=share, changes=share)
    result = at_once(gateway.http, [[gateway.add(host, port) for port in ports] for host, ports in owned])
    _keep(table, gateway, CROWD, point, result)
    table.add(gateway.name, CROWD_RATE, point, "/s", [(len(result.times) - result.unanswered) / result.spent_s])
    at_once(gateway.http, [[gateway.delete(host, port) for port in ports] for host, ports in owned])


def _lists(table: Table, gateway: Gateway, point: Point, plan: Plan) -> None:
    """The first host reads its mappings, one after the other and all at once."""
    host, entries = gateway.hosts[0], min(OWN, point.mappings)
    for _ in range(plan.walks):
        result = Result()
        for first in range(0, entries, CHUNK):
            numbers = range(first, min(first + CHUNK, entries))
            gateway.shares.spend(host, connections=len(numbers))
            result.include(checked(gateway, one_by_one(gateway.http, [gateway.nth(host, n) for n in numbers])))
        table.add(gateway.name, WALK, point, "s", [result.spent_s * OWN / entries], result.unanswered)
    for _ in range(plan.listings if gateway.lists else 0):
        gateway.shares.spend(host, connections=1)
        result = one_by_one(gateway.http, [gateway.listing(host, OWN)])
        if result.refused:
            return  # this gateway does not have it
        _keep(table, gateway, LISTING, point, result)


def introduce(gateway: Gateway) -> None:
    """One request of each host, so that none of the measured ones is the first of its host.

    upnp-gw waits half a second before it grants that one: another host may claim the address.
    """
    for make in (gateway.add, gateway.delete):
        requests = [make(host, gateway.ports(host)[0]) for host in gateway.hosts]
        for host in gateway.hosts:
            gateway.shares.spend(host, connections=1, changes=1)
        checked(gateway, at_once(gateway.http, [[request] for request in requests]))


def fill(gateway: Gateway, present: int, mappings: int) -> None:
    """Adds mappings to those that are there, the first host's own before those of the others."""
    if gateway.is_noop:
        return
    own = gateway.hosts[0]
    for first in range(present, min(mappings, OWN), CHUNK):
        ports = [LAST_PORT - n for n in range(first, min(first + CHUNK, mappings, OWN))]
        gateway.shares.spend(own, connections=len(ports), changes=len(ports))
        checked(gateway, one_by_one(gateway.http, [gateway.add(own, port) for port in ports]))
    others = gateway.hosts[1:]
    step = CHUNK * FILL_CLIENTS
    for first in range(max(present, OWN), mappings, step):
        numbers = range(first, min(first + step, mappings))
        requests = [gateway.add(owner_of(others, n), LAST_PORT - n) for n in numbers]
        for host in others:
            count = sum(request.host is host for request in requests)
            gateway.shares.spend(host, connections=count, changes=count)
        result = at_once(gateway.http, [requests[n::FILL_CLIENTS] for n in range(FILL_CLIENTS)], 30.0)
        checked(gateway, result)


def owner_of(others: Sequence[Host], number: int) -> Host:
    """The owner of a mapping with this number, of those after the first host's own."""
    return others[number % len(others)]


def checked(gateway: Gateway, result: Result) -> Result:
    """Raises RequestRefused with the answer of the first request that was refused."""
    if result.refused:
        answer = result.refused[0].decode("utf-8", "replace")
        raise RequestRefused(f"{gateway.name} refused {len(result.refused)} requests; the first answer: {answer}")
    return result


def _keep(table: Table, gateway: Gateway, row: str, point: Point, result: Result) -> None:
    checked(gateway, result)
    table.add(gateway.name, row, point, "ms", [time * 1000 for time in result.times], result.unanswered)
