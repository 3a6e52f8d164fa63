"""Every fault of the registry, seen by a client. It fails for one that has no case."""

import pytest

from tests.testing.catalogue import description_cases, http_cases, machine_cases, mapping_cases
from tests.testing.catalogue.cases import FAULT_CASES
from tests.testing.catalogue.clients import ControlPoint, code_of, natpmp_answer, pcp_answer
from upnp_gw.protocols.natpmp.codec import NatPmpResult
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing import Emulator
from upnp_gw.testing.outcomes import ERRORS
from upnp_gw.testing.registry import FAULTS

MODULES = (description_cases, http_cases, machine_cases, mapping_cases)
"""Their import registers the cases."""


@pytest.mark.parametrize("name", FAULTS)
async def test_a_client_sees_the_fault(name: str) -> None:
    assert name in FAULT_CASES, f"write a case: @shows({name!r}) in one of {[m.__name__ for m in MODULES]}"
    await FAULT_CASES[name]()


def test_every_case_shows_a_fault_that_there_is() -> None:
    assert FAULT_CASES.keys() <= FAULTS.keys()


async def test_a_real_client_gets_every_error_by_code_and_by_name() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        for code, name in ERRORS.items():
            for given in (code, name) if code != 708 else (code,):  # 715 has the same name
                igd.answer("AddPortMapping", error=given, times=1)
                assert await code_of(point.add(8080)) == code
        assert not igd.mappings


async def test_a_client_gets_every_result_of_pcp_and_natpmp() -> None:
    with Emulator() as igd:
        for pcp_result in set(ResultCode) - {ResultCode.SUCCESS}:
            igd.answer("pcp.map", error=pcp_result.name, times=1)
            assert (await pcp_answer(igd, 7000)).result is pcp_result
        for result in set(NatPmpResult) - {NatPmpResult.SUCCESS}:
            igd.answer("natpmp.map", error=result.name, times=1)
            assert int.from_bytes((await natpmp_answer(igd, 7000))[2:4]) == result
        assert not igd.mappings
