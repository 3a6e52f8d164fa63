"""Codes: every refusal has one on both versions, and no version sends what is not its own."""

import pytest

from tests.fixtures.fake_gateway import FakeGateway, call, key_arguments, mapping_arguments
from upnp_gw.model.mapping import DecisionId
from upnp_gw.model.request import Refusal, Refused
from upnp_gw.protocols.igd.faults import NAMES, REFUSALS, Fault, fault_of
from upnp_gw.protocols.igd_services import IgdVersion

ONLY_2 = {728, 729, 730, 731, 732, 733}
NEVER_2 = {724, 725, 726, 727}
RANGE = {"NewStartPort": "1", "NewEndPort": "65535", "NewProtocol": "TCP", "NewManage": "0"}


@pytest.mark.parametrize("igd_version", IgdVersion)
def test_every_refusal_has_a_code_with_a_name(igd_version: IgdVersion) -> None:
    assert REFUSALS[igd_version].keys() == set(Refusal)
    assert set(REFUSALS[igd_version].values()) <= NAMES.keys()


@pytest.mark.spec("IGD-136")
def test_deviation_version_1_says_606_and_none_of_728_to_733() -> None:
    """Deviation: 606 on version 1 too, for what policy refuses."""
    assert not set(REFUSALS[IgdVersion.IGD1].values()) & ONLY_2
    assert REFUSALS[IgdVersion.IGD1][Refusal.NOT_AUTHORIZED] == 606


@pytest.mark.spec("IGD-135")
def test_version_1_alone_has_724_and_only_without_nat() -> None:
    assert not set(REFUSALS[IgdVersion.IGD2].values()) & NEVER_2
    forbidden = {refusal: code for refusal, code in REFUSALS[IgdVersion.IGD1].items() if code in NEVER_2}
    assert forbidden == {Refusal.SAME_PORT: 724}
    assert NAMES.keys() & NEVER_2 == {724}


CASES = [
    # refusal, version 1 and 2 of AddPortMapping, of AddAnyPortMapping
    (Refusal.NOT_AUTHORIZED, 606, 606, 606),
    (Refusal.ASK, 606, 606, 606),
    (Refusal.RATE, 606, 606, 606),
    (Refusal.QUOTA, 606, 728, 728),
    (Refusal.CONFLICT, 718, 718, 728),
    (Refusal.CONFLICT_OTHER, 718, 729, 728),
    (Refusal.TABLE_FULL, 501, 728, 728),
    (Refusal.NO_PORT, 718, 728, 728),
    (Refusal.SAME_PORT, 724, 718, 728),
    (Refusal.NO_EXTERNAL_ADDRESS, 501, 501, 501),
    (Refusal.ABSENT, 501, 501, 501),
    (Refusal.BACKEND, 501, 501, 501),
]


@pytest.mark.spec("IGD-137", "IGD-138", "IGD-139", "IGD-140", "IGD-145", "IGD-174", "IGD-115", "IGD-143")
@pytest.mark.parametrize(("refusal", "first", "second", "any_port"), CASES)
def test_refused_additions(refusal: Refusal, first: int, second: int, any_port: int) -> None:
    gateway = FakeGateway()
    gateway.refuse = Refused(refusal, "because", DecisionId("d7"))
    answers = [
        call(gateway, IgdVersion.IGD1, "AddPortMapping", **mapping_arguments()),
        call(gateway, IgdVersion.IGD2, "AddPortMapping", **mapping_arguments()),
        call(gateway, IgdVersion.IGD2, "AddAnyPortMapping", **mapping_arguments()),
    ]
    codes = [answer.code for answer in answers if isinstance(answer, Fault)]
    assert codes == [first, second, any_port]
    assert gateway.table == []


@pytest.mark.spec("IGD-158", "IGD-159", "IGD-156", "IGD-161", "IGD-163")
def test_deviation_refused_removals() -> None:
    """Deviation: version 1 too says 606, not 714, for another device's mapping."""
    gateway = FakeGateway()
    for refusal, one, many in ((Refusal.NOT_AUTHORIZED, 606, 606), (Refusal.NO_SUCH, 714, 730)):
        gateway.refuse = Refused(refusal, "because", DecisionId("d7"))
        for igd_version in IgdVersion:
            answer = call(gateway, igd_version, "DeletePortMapping", **key_arguments())
            assert isinstance(answer, Fault)
            assert answer.code == one
        answer = call(gateway, IgdVersion.IGD2, "DeletePortMappingRange", **RANGE)
        assert isinstance(answer, Fault)
        assert answer.code == many


@pytest.mark.spec("IGD-080")
def test_a_refusal_says_why_and_which_decision() -> None:
    refused = Refused(Refusal.NOT_AUTHORIZED, "port 22 is forbidden", DecisionId("d123"))
    fault = fault_of(IgdVersion.IGD1, refused)
    assert fault.description == "Action not authorized: port 22 is forbidden [d123]"
    assert Fault(714).description == "NoSuchEntryInArray"
