"""PolicyFiles are kept by hash for as long as decisions refer to them, over reloads, commands and restarts."""

import logging
import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.test_policy_reload import NARROW, POLICY, reloaded
from tests.fixtures.gateway import Clock
from tests.fixtures.policy_reload import ReloadFixture, reload_home
from tests.fixtures.store import pruned
from upnp_gw import api
from upnp_gw.engine import kept_policies
from upnp_gw.engine.kept_policies import NOT_KEPT, OTHER_VERSION, packed, unpacked
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.gate.managed_file import ManagedChange, toml_time
from upnp_gw.model.errors import StoreError
from upnp_gw.store import policy_rows
from upnp_gw.store.pruning import Retention

NAMED = POLICY.replace('name = "wide"', 'name = "wide"\nreason = "\u00fc"')


async def explained(home: ReloadFixture, decision: str) -> api.Explained:
    found = await home.policy_commands.explain(decision)
    assert found is not None
    return found


def kept(directory: Path) -> dict[str, int | None]:
    """Hash -> the newest decision when the policy was replaced."""
    with closing(sqlite3.connect(directory / "ledger.db")) as db:
        return dict(db.execute("SELECT digest, last FROM policies").fetchall())


async def test_a_decision_by_any_older_policy_is_explained_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    first: list[api.Explained] = []
    made: list[str] = []
    async with reload_home(tmp_path, NAMED, clock=clock) as home:
        made.append((await home.gateway_fixture.granted(9000)).mapping.decision)
        block = {"name": "no-telnet", "who": "*", "int_ports": [9023], "until": toml_time(clock.now.wall + 3600)}
        await home.policy_updates.change(lambda: ManagedChange({}, (block,)))
        made.append((await home.gateway_fixture.refused(9023)).decision or "")
        first += [await explained(home, decision) for decision in made]
        assert [(rule.name, rule.effect) for rule in first[1].forbids] == [("no-telnet", "denies")]
        clock.pass_s(7200)
        await reloaded(home, NAMED + "max_mappings = 9\n")
        made.append((await home.gateway_fixture.granted(9023)).mapping.decision)
        first.append(await explained(home, made[2]))
        assert (first[2].forbids, first[2].grants[0].why) == ([], "room 9/9"), (
            "it is in the file, and its end has passed"
        )
        await home.policy_updates.change(lambda: ManagedChange({"tv": {"ip": ["192.168.77.40"]}}))
    async with reload_home(tmp_path, NARROW, clock=clock) as again:
        now = [await explained(again, decision) for decision in made]
        assert [(one.forbids, one.grants, one.names, one.note) for one in now] == [
            (one.forbids, one.grants, one.names, None) for one in first
        ]
        assert {one.superseded for one in now} == {True}
        assert now[0].grants[0].effect == "charged"
        assert sorted(kept(tmp_path).values(), key=str)[-1] is None, "the one in force"


async def test_a_policy_leaves_with_the_decisions_that_refer_to_it(tmp_path: Path) -> None:
    clock = Clock()
    async with reload_home(tmp_path, POLICY, clock=clock) as home:
        store = home.gateway_fixture.store
        store._pruning.keep = Retention(decisions=3)
        old = (await home.gateway_fixture.granted(8000)).mapping.decision
        first = home.gateway_fixture.decider.in_force.policy.digest
        await reloaded(home, NARROW)
        second = home.gateway_fixture.decider.in_force.policy.digest
        assert kept(tmp_path) == {first: 2, second: None}
        assert (await explained(home, old)).note is None
        await home.gateway_fixture.granted(8001)
        await home.gateway_fixture.granted(8002)
        assert kept(tmp_path) == {first: 2, second: None}, "d2 refers to nothing, but was decided before it"
        await home.gateway_fixture.granted(8003)
        await pruned(store)
        assert kept(tmp_path) == {first: 2, second: None}, "the mapping names d1"
        assert (await explained(home, old)).grants[0].effect == "charged"
        await home.gateway_fixture.unmap(8000)
        clock.pass_s(store._pruning.keep.pass_s)
        await home.gateway_fixture.granted(8004)
        await pruned(store)
        assert await home.policy_commands.explain(old) is None
        assert kept(tmp_path) == {second: None}
        await reloaded(home, POLICY)
        assert kept(tmp_path)[first] is None, "it is in force again"


async def test_policies_take_a_bounded_size_and_the_oldest_leave_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        size = len(packed(home.policy_updates.in_force.loaded))
        monkeypatch.setattr(policy_rows.put_in_force, "__defaults__", (3 * size + 60,))
        old = (await home.gateway_fixture.granted(8000)).mapping.decision
        digests = [home.gateway_fixture.decider.in_force.policy.digest]
        for most in (5, 6, 7, 8):
            await reloaded(home, POLICY + f"max_mappings = {most}\n")
            digests.append(home.gateway_fixture.decider.in_force.policy.digest)
        assert set(kept(tmp_path)) == set(digests[-3:])
        explanation = await explained(home, old)
        assert (explanation.grants, explanation.note, explanation.reasons[-1]) == (
            [],
            NOT_KEPT,
            "granted by rule wide",
        )
        monkeypatch.setattr(policy_rows.put_in_force, "__defaults__", (1,))
        await reloaded(home, POLICY)
        assert set(kept(tmp_path)) == {digests[0]}, "the one in force is kept whatever its size"


async def test_a_policy_that_does_not_come_into_force_does_not_take_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        await home.gateway_fixture.granted(9000)
        digest = home.gateway_fixture.decider.in_force.policy.digest

        async def refuse(*given: object) -> None:
            raise StoreError("no")

        home.file.write_text(NARROW)
        with monkeypatch.context() as broken:
            broken.setattr(home.gateway_fixture.store, "write", refuse)
            broken.setattr(home.gateway_fixture.firewall, "apply", refuse)
            assert isinstance(await home.policy_commands.reload(), api.Problem)
        assert [name for name, last in kept(tmp_path).items() if last is None] == [digest]


async def test_a_disk_that_fails_keeps_no_policy_from_coming_into_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with reload_home(tmp_path, POLICY) as home:

        async def refuse(*given: object) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
            broken.setattr(home.gateway_fixture.store, "keep_policy", refuse)
            broken.setattr(home.gateway_fixture.store, "policy_in_force", refuse)
            await reloaded(home, NARROW)
        narrow = home.gateway_fixture.decider.in_force.policy.digest
        assert (
            f"policy {narrow} is not kept, so explain cannot show its rules later: the disk is full" in caplog.text
        )
        refused = (await home.gateway_fixture.refused(9000)).decision or ""
        await reloaded(home, POLICY)
        assert (await explained(home, refused)).note is None, "kept when the disk took it again"


async def test_requests_wait_for_no_old_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        await home.gateway_fixture.granted(9000)
        await reloaded(home, NARROW)

        def built(*given: object) -> None:
            raise AssertionError("an old policy was built")

        monkeypatch.setattr(kept_policies, "build_policy", built)
        await home.gateway_fixture.granted(8001)
        await home.gateway_fixture.refused(9001)
        await home.gateway_fixture.granted(8001)
        with pytest.raises(AssertionError, match="was built"):
            await home.policy_commands.explain("d1")


async def test_a_kept_policy_that_this_version_reads_differently_is_not_explained(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        loaded = home.policy_updates.in_force.loaded
        made = (await home.gateway_fixture.granted(9000)).mapping.decision
        await reloaded(home, NARROW)
        for body in (
            packed(home.policy_updates.in_force.loaded),
            b"garbage",
            packed(LoadedPolicy(loaded.policy, (), "version = 9")),
            zlib.compress(b"[" * 100_000),
            zlib.compress(zlib.decompress(packed(loaded)) + b" " * kept_policies.LARGEST_BODY),
            packed(loaded)[:-1],
        ):
            with closing(sqlite3.connect(tmp_path / "ledger.db")) as db, db:
                db.execute("UPDATE policies SET body = ? WHERE digest = ?", (body, loaded.policy.digest))
            explanation = await explained(home, made)
            assert (explanation.grants, explanation.note) == ([], OTHER_VERSION)


async def test_a_kept_policy_is_small(tmp_path: Path) -> None:
    devices = "".join(f'[device.d{n}]\nmac = ["02:00:00:00:{n // 256:02x}:{n % 256:02x}"]\n' for n in range(1000))
    async with reload_home(tmp_path, POLICY + devices) as home:
        body = packed(home.policy_updates.in_force.loaded)
        assert len(body) < 10_000
        assert (
            unpacked(home.gateway_fixture.decider.in_force.policy.digest, body)
            == home.gateway_fixture.decider.in_force.policy
        )


async def test_a_network_that_changed_since_changes_no_explanation(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        made = (await home.gateway_fixture.granted(9000)).mapping.decision
        explanation = (await explained(home, made)).grants
        home.gateway_fixture.around.network = replace(home.gateway_fixture.around.network, lans=())
        assert [rule.effect for rule in explanation] == ["charged"]
        assert (await explained(home, made)).grants == explanation
