"""The operator's own mapping stands on the floor, and the operator is told which invariants it crosses."""

from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE_IP, asks
from tests.fixtures.policy_reload import ReloadFixture, reload_home
from upnp_gw import api
from upnp_gw.model.mapping import Transport, Via

GRANT = 'version = 1\n[[grant]]\nname = "wide"\nwho = "*"\nint_ports = ["8000-8999"]\n'
NEVER = '[[never]]\nname = "nobody opens remote desktops"\nrequest = { int = 3389 }\n'
POLICY = GRANT + NEVER
LINE = 1 + GRANT.count("\n")


async def added(home: ReloadFixture, port: int, permanent: bool = False) -> api.Added:
    answer = await home.operator.add(
        api.AddMapping(
            transport=Transport.TCP,
            external_port=port,
            internal_client=CONSOLE_IP,
            lease_s=None if permanent else 600,
            permanent=permanent,
        )
    )
    assert isinstance(answer, api.Added), answer
    return answer


async def test_a_mapping_that_crosses_is_opened_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        sentence = f'crosses never "nobody opens remote desktops" ({home.file}:{LINE})'
        answer = await added(home, 3389)
        assert answer.crosses == [sentence]
        assert home.gateway_fixture.ports == {(Transport.TCP, 3389)}
        explained = await home.policy_commands.explain(answer.decision)
        assert explained is not None
        assert explained.verdict == "allow"
        assert explained.reasons[-2:] == [sentence, "requested by the operator"]
        assert explained.decision is not None
        assert sentence in explained.decision.reasons
        assert f"{answer.id}, which the operator added, {sentence}" in caplog.text
        assert (await added(home, 8080)).crosses == []


async def test_a_control_point_is_refused_and_told_nothing(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        await home.gateway_fixture.refused(3389)
        assert (await home.gateway_fixture.granted(8000)).crosses == ()


async def test_a_trial_tells_too(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        tried = await home.policy_commands.trial(
            api.Trial(
                address=CONSOLE_IP,
                via=Via.OPERATOR,
                transport=Transport.TCP,
                internal_port=3389,
                internal_client=CONSOLE_IP,
            )
        )
        assert isinstance(tried, api.Explained)
        assert (tried.verdict, tried.reasons[-1]) == ("allow", "requested by the operator")
        assert any('crosses never "nobody opens' in reason for reason in tried.reasons)


async def test_a_reload_names_the_mappings_that_cross_a_new_never_and_leaves_them(tmp_path: Path) -> None:
    async with reload_home(tmp_path, GRANT) as home:
        old = await added(home, 3389, permanent=True)
        await added(home, 8080)
        assert old.crosses == []
        home.file.write_text(POLICY)
        answer = await home.policy_commands.reload()
        assert isinstance(answer, api.Reloaded), answer
        assert answer.warnings == [
            f"{old.id} (tcp 3389 -> {CONSOLE_IP}:3389), which you added, crosses"
            f' never "nobody opens remote desktops" ({home.file}:{LINE}); to close it: upnp-gw delete {old.id}'
        ]
        assert answer.fallen == []
        assert home.gateway_fixture.ports == {(Transport.TCP, 3389), (Transport.TCP, 8080)}


async def test_another_reply_of_the_same_batch_is_about_its_own_mapping(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        await added(home, 3389)
        granted = await home.gateway_fixture.handle(asks(8001))
        assert getattr(granted, "crosses", None) == ()
