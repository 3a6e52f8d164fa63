"""The operation ``erase``: it says what still names the device."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fixtures.gateway import PC, PC_IP
from tests.fixtures.operator_commands import Served, served, written
from upnp_gw import api
from upnp_gw.control.erase import EraseCommands
from upnp_gw.control.targets import Targets


def commands(here: Served, state_dir: Path) -> EraseCommands:
    home = here.home
    parts = SimpleNamespace(
        decider=home.decider,
        config=SimpleNamespace(state_dir=state_dir),
        gateway=home.gateway,
        evidence=home.evidence_collector,
        store=home.store,
    )
    return EraseCommands(parts, Targets(home.decider, home.probe))  # type: ignore[arg-type]


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_what_still_names_the_device_is_listed(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        for port in (22, 23, 135, 137, 138):
            await here.home.refused(port, PC_IP)
        written(await here.device_commands.name(PC_IP, api.NameDevice(name="laptop")))
        written(await here.device_commands.allow(PC_IP, api.Allow(ports=[5000])))
        await here.device_commands.release(PC_IP)
        stands = (await here.home.granted(5000, PC_IP)).mapping
        await here.home.refused(445, PC_IP)
        for name in ("ledger.db.kept-20260101T000000Z-wal", "approved.toml.kept-20260101T000000Z"):
            (tmp_path / name).write_text("old")
        erase = commands(here, tmp_path)
        found = await erase.erase(api.Erase(device="laptop"))
        assert isinstance(found, api.Erased)
        assert (found.decisions, found.kept_decisions, found.mappings) == (6, 1, [stands.id])
        assert found.names == ["device laptop", "grant allow-laptop"]
        assert not found.incident
        assert [Path(copy).name for copy in found.copies] == [
            "approved.toml.kept-20260101T000000Z",
            "ledger.db.kept-20260101T000000Z-wal",
        ]
        again = await erase.erase(api.Erase(everything=True, copies=True))
        assert isinstance(again, api.Erased)
        assert again.copies == []
    assert names(tmp_path) == {"ledger.db", "policy.toml", "approved.toml", "ledger.db-highwater"}


async def test_an_open_incident_is_told_and_a_device_that_is_none(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        for port in (22, 23, 135, 137, 138):
            await here.home.refused(port, PC_IP)
        erase = commands(here, tmp_path)
        found = await erase.erase(api.Erase(device=PC))
        assert isinstance(found, api.Erased)
        assert found.incident
        problem = await erase.erase(api.Erase(device="nobody"))
        assert isinstance(problem, api.Problem)
        assert problem.field == "device"
        assert isinstance(await erase.erase(api.Erase(deleted=True)), api.Erased)


async def test_a_disk_that_fails_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path) as here:
        monkeypatch.setattr("upnp_gw.store.erasing.rewrite", lambda *_: 1 / 0)
        problem = await commands(here, tmp_path).erase(api.Erase(everything=True))
        assert isinstance(problem, api.Problem)
        assert problem.error == "backend-failed"
        monkeypatch.undo()


@pytest.mark.parametrize("given", [{}, {"device": "x", "everything": True}, {"deleted": True, "everything": True}])
def test_exactly_one_of_three(given: dict[str, object]) -> None:
    with pytest.raises(api.FieldError, match="exactly one"):
        api.Erase(**given)  # type: ignore[arg-type]
