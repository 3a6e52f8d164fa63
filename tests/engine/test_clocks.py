"""Clocks that jump: leases run on CLOCK_BOOTTIME, whatever the wall clock does; a suspend counts."""

from pathlib import Path

import pytest

from tests.fixtures.gateway import Clock, gateway_fixture
from upnp_gw.model.mapping import Instant, Transport, Via

TCP = Transport.TCP
YEAR_S = 365 * 86400.0


def jump(clock: Clock, seconds: float) -> None:
    """Somebody sets the wall clock: NTP after a start without a battery, or by hand."""
    clock.now = Instant(clock.now.boot, clock.now.wall + seconds)


@pytest.mark.parametrize("seconds", [-30 * YEAR_S, -3600.0, 3600.0, 30 * YEAR_S])
async def test_a_wall_clock_that_jumps_moves_no_lease(tmp_path: Path, seconds: float) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        first = await home.granted(8080, lifetime=1000)
        left = first.mapping.until - clock().boot
        jump(clock, seconds)
        await home.sweep()
        assert home.ports == {(TCP, 8080)}
        again = home.decider.ledger.table.get(first.mapping.id)
        assert again is not None
        assert again.until - clock().boot == left
        joined = await home.granted(9000, via=Via.NATPMP, lifetime=600)
        assert joined.lifetime_s == 600
        clock.pass_s(999)
        await home.sweep()
        assert (TCP, 8080) in home.ports
        clock.pass_s(1)
        await home.sweep()
        assert home.ports == set(), "both ended by their own time"


@pytest.mark.parametrize("seconds", [-30 * YEAR_S, 30 * YEAR_S])
async def test_a_restart_after_a_jump_goes_by_the_boots_own_clock(tmp_path: Path, seconds: float) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.granted(8080, lifetime=1000)
    jump(clock, seconds)
    clock.pass_s(400)
    async with gateway_fixture(tmp_path, clock=clock) as home:
        (mapping,) = home.decider.ledger.table
        assert mapping.until - clock().boot == 600
        assert home.ports == {(TCP, 8080)}


async def test_a_clock_set_back_over_a_reboot_gives_no_lease_new_life(tmp_path: Path) -> None:
    """A router without a battery starts in 1970."""
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.granted(8080, lifetime=1000)
    clock.now = Instant(5.0, 100.0)
    async with gateway_fixture(tmp_path, clock=clock, boot="boot-2") as home:
        (mapping,) = home.decider.ledger.table
        assert mapping.until - clock().boot == 1000, "what was left at the last write, no more"


async def test_incidents_and_rates_do_not_last_longer_for_a_clock_set_back(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        for port in range(5000, 5027):
            await home.map(port)
        assert home.decider.history.incidents(clock())
        jump(clock, -YEAR_S)
        clock.pass_s(86400)
        await home.sweep()
        assert not home.decider.history.incidents(clock()), "it ended by the boot's clock"


async def test_a_suspend_ends_expired_leases_and_renews_the_others(tmp_path: Path) -> None:
    """CLOCK_BOOTTIME goes on through it; the kernel's own timeouts stood still or not, the maps are right after."""
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.granted(8080, lifetime=600)
        held = await home.granted(3074, lifetime=None)
        clock.pass_s(8 * 3600)
        await home.sweep()
        assert home.ports == {(TCP, 3074)}
        remaining = home.decider.ledger.table.get(held.mapping.id)
        assert remaining is not None
        assert remaining.until == held.mapping.until
