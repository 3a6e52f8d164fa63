"""A house with all that asks about its policy: reload, inquiry, the operator's side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.house import Clock, House, house
from upnp_gw.inquiry import Inquiry
from upnp_gw.operating import GatewayOperator
from upnp_gw.policies import APPROVED, Enforcer, Policies
from upnp_gw.reload import Reload


@dataclass
class Home:
    house: House
    file: Path
    enforcer: Enforcer
    reload: Reload
    inquiry: Inquiry
    operator: Any


@asynccontextmanager
async def reload_home(directory: Path, text: str, size: int = 1024, **options: Any) -> AsyncIterator[Home]:
    """``text`` is the operator's policy file; the same directory again is a restart."""
    clock = options.pop("clock", None) or Clock()
    file = directory / "policy.toml"
    file.write_text(text)
    policies = Policies(file, directory / APPROVED, lambda: clock.now.wall)
    loaded = policies.load()
    async with house(directory, loaded.policy, clock, **options) as made:
        reload = await Reload.begin(made.gateway, made.store, size, loaded, lambda: clock.now.wall)
        enforcer = Enforcer(policies, reload.enforce)
        told: Any = SimpleNamespace(policy_problem=lambda: reload.problem)
        operator = GatewayOperator(made.gateway, made.store, told)
        inquiry = Inquiry(made.gateway, made.store, enforcer, reload, operator.decision)
        yield Home(made, file, enforcer, reload, inquiry, operator)
