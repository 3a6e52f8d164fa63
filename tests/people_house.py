"""A house whose policy is two files, and the commands of its people."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.house import Clock, House, house
from upnp_gw import api
from upnp_gw.duties import Fallen
from upnp_gw.gate.load import Loaded
from upnp_gw.ledger.ledger import Turn
from upnp_gw.people import People
from upnp_gw.policies import APPROVED, Enforcer, Policies
from upnp_gw.telling import Telling

ASK = """
version = 1
default = "ask"
[limits]
incident_after = 5
[device.console]
mac = ["ac:89:95:00:00:01"]
[[forbid]]
name = "never-admin-ports"
int_ports = [22, 23, 135, "137-139", 445, 3389, 5900]
"""


@dataclass
class Served:
    home: House
    people: People
    enforcer: Enforcer

    @property
    def file(self) -> Path:
        return self.enforcer.policies.machine


def written(answer: Any) -> api.Written:
    """The answer of a command that was carried out."""
    assert isinstance(answer, api.Written), answer
    return answer


def refused(answer: object) -> api.Problem:
    """The answer of one that was not."""
    assert isinstance(answer, api.Problem), answer
    return answer


@asynccontextmanager
async def served(
    directory: Path, text: str | None = ASK, clock: Clock | None = None, **options: Any
) -> AsyncIterator[Served]:
    """``text``: the operator's policy file; None: the built-in home policy. The same directory is a restart."""
    clock = clock or Clock()
    operator = directory / "policy.toml" if text is not None else None
    if operator is not None and text is not None:
        operator.write_text(text)
    policies = Policies(operator, directory / APPROVED, lambda: clock.now.wall)
    async with house(directory, policies.load().policy, clock, **options) as home:

        async def enforce(loaded: Loaded) -> list[Fallen]:
            fallen: list[Fallen] = []

            def change(turn: Turn) -> None:
                fallen[:] = home.gateway.duties.policy_changed(turn, loaded.policy)

            await home.gateway.submit(change)
            return fallen

        enforcer = Enforcer(policies, enforce)
        yield Served(home, People(home.gateway, enforcer, home.probe, Telling(home.gateway).mapping), enforcer)
