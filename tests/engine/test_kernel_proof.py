"""The comparison of the kernel with the rows of a ledger and the policy in force."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from tests.firewall.openings.test_proof import element, ruleset
from tests.firewall.openings.test_walk import match
from tests.fixtures.firewall_driver import NETWORK, forward
from tests.fixtures.gateway import CONSOLE_IP, PC_IP, GatewayFixture, gateway_fixture
from upnp_gw.engine.kernel_proof import KernelProver, Openings, compare, openings_of
from upnp_gw.engine.writer import UNDISTURBED_TRIES
from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.openings.findings import Fault, Verdict
from upnp_gw.firewall.openings.kernel_state import KernelState
from upnp_gw.firewall.openings.sentences import sentence
from upnp_gw.gate.builtin import profile_text
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import DecisionId, Hold, Mapping, MappingKey, Via
from upnp_gw.model.network import Link

WIDE = 'version = 1\n[[grant]]\nname = "wide"\nwho = "*"\nint_ports = ["1024-65535"]\next = "same-or-any"\n'
NARROW = WIDE.replace("1024-65535", "9000-9999")


NO_OLD_FLOWS = [match("in", {"ct": {"key": "state"}}, "established"), {"drop": None}]
LAN = Link("lan0", 2, True, (ip_interface("192.168.77.1/24"),))


def policy(text: str) -> Policy:
    return load_text(text, "test", date.min).policy


def kernel(home: GatewayFixture, *ports: int, host: str = CONSOLE_IP) -> KernelState:
    """The kernel with an element for each port, as long as a row lives at most."""
    external = str(home.decider.environment.network.external[0])
    elements = (element(port, host, port, expires=30) for port in ports)
    return KernelState(ruleset(*elements, rules=(NO_OLD_FLOWS,), external=external))


def openings(home: GatewayFixture) -> Openings:
    ledger = home.decider.ledger
    return openings_of(ledger.table, list(ledger.cuts), home.clock())


async def test_a_mapping_is_inside_of_what_the_policy_can_allow(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000)
        now, network = openings(home), home.decider.environment.network
        found = compare(kernel(home, 8000), now, network, policy(WIDE))
        assert (found.verdict, found.open_mappings) == (Verdict.PROVED, frozenset(now.active))
        (finding,) = compare(kernel(home, 8000), now, network, policy(NARROW)).findings
        assert (finding.fault, finding.mapping) == (Fault.NOT_ALLOWED, now.active[0])
        assert sentence(finding).endswith("and the policy in force can allow no such mapping")


async def test_a_mapping_of_the_operator_is_not_the_policys(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(NARROW)) as home:
        await home.granted(8000, "127.0.0.1", target=PC_IP, via=Via.OPERATOR, lifetime=86400)
        found = compare(
            kernel(home, 8000, host=PC_IP), openings(home), home.decider.environment.network, policy(NARROW)
        )
        assert found.verdict is Verdict.PROVED, found


async def test_remote_hosts_beyond_the_grant_are_not_allowed(tmp_path: Path) -> None:
    """The row is for anyone, and the policy can allow a prefix."""
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000)
        narrow = policy(WIDE + 'remote = ["203.0.113.0/24"]\n')
        found = compare(kernel(home, 8000), openings(home), home.decider.environment.network, narrow)
        assert [finding.fault for finding in found.findings] == [Fault.NOT_ALLOWED]


async def test_flows_of_ended_mappings_are_permitted_until_they_are_cut(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000)
        await home.unmap(8000)
        now = openings(home)
        assert ([one.external_port for _, one in now.ended], now.open) == ([8000], [])


class Reader:
    """Reads the kernel as ``state`` says. ``state`` gets the number of the reading, 1 and up."""

    def __init__(self, state: Callable[[int], Awaitable[KernelState]]) -> None:
        self.readings = 0
        self._state = state

    async def settled(self) -> None: ...

    async def read_with(self, read: Any) -> KernelState:
        self.readings += 1
        return await self._state(self.readings)


async def test_ledger_and_kernel_are_read_between_two_operations(tmp_path: Path) -> None:
    """A request that comes while the kernel is read has it read again."""
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:

        async def state(reading: int) -> KernelState:
            if reading > 1:
                return kernel(home, 8000)
            await home.granted(8000)
            return kernel(home)

        reader = Reader(state)
        proof = await KernelProver(home.gateway, home.decider, reader).proof()
        assert (reader.readings, proof.verdict, len(proof.open_mappings)) == (2, Verdict.PROVED, 1)


async def test_operations_that_never_cease_wait_for_the_last_reading(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:

        async def state(reading: int) -> KernelState:
            home.gateway.submit(lambda transaction: None)
            return kernel(home)

        reader = Reader(state)
        proof = await KernelProver(home.gateway, home.decider, reader).proof()
        assert (reader.readings, proof.verdict) == (UNDISTURBED_TRIES + 1, Verdict.PROVED)
        await home.granted(8000)


async def test_without_a_kernel_there_is_nothing_to_prove(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        with pytest.raises(FirewallError, match="the memory backend opens nothing"):
            await KernelProver(home.gateway, home.decider, None).prove()


def test_the_policy_is_asked_about_a_thousand_mappings_in_well_under_a_second() -> None:
    """Of the built-in home policy: 200 hosts with five ports each."""
    forwards = [forward(f"m{n}", 10_000 + n, f"192.168.77.{20 + n // 5}") for n in range(1000)]
    rows = [(mapping_row(f"m{n}", one), one) for n, one in enumerate(forwards)]
    elements = (element(f.external_port, str(f.internal.address), f.internal.port, expires=9) for f in forwards)
    listed = ruleset(*elements, rules=(NO_OLD_FLOWS,))
    home, network = policy(profile_text("home")), replace(NETWORK, lans=(LAN,))
    began = time.process_time()
    found = compare(KernelState(listed), Openings(rows, []), network, home)
    took = time.process_time() - began
    assert (found.verdict, len(found.open_mappings)) == (Verdict.PROVED, 1000), found.findings
    assert took < 1.5, took


def mapping_row(name: str, made: Forward) -> Mapping:
    key = MappingKey(made.transport, None, made.external_port, None)
    hold = Hold(Via.IGD1, 600.0, 600)
    return Mapping(name, key, made.internal, "d", "", True, False, (hold,), 0.0, DecisionId("d1"), "home", 600.0)
