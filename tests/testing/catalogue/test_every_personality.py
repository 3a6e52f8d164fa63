"""Every personality of the registry, seen by a client. It fails for one that has no case."""

import pytest

from tests.testing.catalogue import personality_cases
from tests.testing.catalogue.cases import PERSONALITY_CASES
from tests.testing.catalogue.clients import ControlPoint, code_of, search
from upnp_gw.testing import Emulator
from upnp_gw.testing.personalities import PERSONALITIES


@pytest.mark.parametrize("name", PERSONALITIES)
async def test_a_client_sees_the_personality(name: str) -> None:
    assert name in PERSONALITY_CASES, f"write a case: @shows_personality({name!r}) in {personality_cases.__name__}"
    await PERSONALITY_CASES[name]()


def test_every_case_shows_a_personality_that_there_is() -> None:
    assert PERSONALITY_CASES.keys() <= PERSONALITIES.keys()


async def test_an_emulator_becomes_another_kind_of_router_and_the_usual_one_again() -> None:
    with Emulator() as igd:
        location = igd.location_v1
        point = await ControlPoint.at(location)
        await point.add(8080)
        fault = igd.fault("error", "AddPortMapping", code=718)
        igd.personality("only-permanent-leases", "no-ssdp", "carrier-nat")
        assert await search(igd, wait_s=0.3) == []
        assert await point.external_address() == "100.64.0.7"
        assert await code_of(point.add(8080)) == 718
        igd.clear()
        assert await code_of(point.add(8080)) == 725, "the personality stays"
        fault.remove()
        igd.personality()
        await point.add(8080)
        assert await search(igd)
        assert await point.external_address() == "11.22.33.44"
        assert igd.mappings.one().external_port == 8080
        igd.personality("v1-only")
        assert igd.location == location
    with pytest.raises(ValueError, match="no personality 'v1-onyl'; did you mean 'v1-only'"):
        Emulator(personality="v1-onyl")
