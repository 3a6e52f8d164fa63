"""``erase`` asks, sends, and says what stays."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import served
from upnp_gw import api


class Erases:
    """A gateway that keeps what it is asked, in order."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def erase(self, body: api.Erase) -> api.Erased:
        self.asked.append(body)
        return api.Erased(
            decisions=12,
            openings=1,
            questions=0,
            kept_decisions=2,
            mappings=["m1", "m2"],
            incident=True,
            names=["device ps5", "grant ps5"],
            copies=["/state/ledger.db.kept-20260101T000000Z"],
        )

    async def revoke(self, device: str) -> api.Revoked:
        self.asked.append(device)
        return api.Revoked(mappings=[], questions=0)


def test_of_a_device(upnp_gw: Run, tmp_path: Path) -> None:
    gateway = Erases()
    with served(tmp_path / "run", more=[gateway]):
        done = upnp_gw("erase", "--device", "ps5", "--yes")
    assert (done.exit_code, gateway.asked) == (0, [api.Erase(device="ps5")])
    text = done.output.replace("\n    ", " ")
    for words in (
        *("erased: 12 decisions, evidence of 1 port, 0 questions", "2 decisions stay", "still open", "m1 m2"),
        *("upnp-gw release ps5", "the policy names ps5: device ps5, grant ps5", "--copies deletes it"),
    ):
        assert words in text, words


def test_mappings_end_first_on_demand_and_all_history(upnp_gw: Run, tmp_path: Path) -> None:
    gateway = Erases()
    with served(tmp_path / "run", more=[gateway]):
        assert upnp_gw("erase", "--device", "ps5", "--revoke", "--yes", "--json").exit_code == 0
        done = upnp_gw("erase", "--all", "--copies", "--yes", "--json")
        assert upnp_gw("erase", "--deleted").exit_code == 0, "nothing to ask about"
    assert json.loads(done.output)["decisions"] == 12
    assert gateway.asked == [
        "ps5",
        api.Erase(device="ps5"),
        api.Erase(everything=True, copies=True),
        api.Erase(deleted=True),
    ]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--all", "--device", "ps5"),
        ("--all", "--revoke"),
        ("--device", "ps5"),
        ("--all",),
        ("--deleted", "--all"),
    ],
)
def test_what_is_not_clear_is_refused(upnp_gw: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The last two of one choice need --yes without a terminal."""
    gateway = Erases()
    with served(tmp_path / "run", more=[gateway]):
        assert upnp_gw("erase", *words).exit_code == 2
    assert gateway.asked == []
