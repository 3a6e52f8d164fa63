"""Port mappings: other leases and ports than asked, refusals, lists, policies, the firewall."""

from typing import Any

import pytest

from tests.testing.catalogue.cases import shows
from tests.testing.catalogue.clients import ControlPoint, code_of, natpmp_answer, pcp_answer
from upnp_gw.model.errors import ConfigError
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing import Emulator
from upnp_gw.testing.faults.policies import NOBODY

LIST_OF_ALL: dict[str, Any] = {
    "NewStartPort": 0,
    "NewEndPort": 65535,
    "NewProtocol": "TCP",
    "NewManage": False,
    "NewNumberOfPorts": 0,
}


async def natpmp_map(igd: Emulator, internal: int, external: int = 0) -> natpmp.MappingResponse:
    answer = natpmp.parse_response(await natpmp_answer(igd, internal, external))
    assert isinstance(answer, natpmp.MappingResponse)
    return answer


@shows("shorter-lease")
async def shorter_lease() -> None:
    with Emulator() as igd:
        igd.fault("shorter-lease", seconds=300)
        point = await ControlPoint.at(igd.location)
        for port, lease_s in ((8080, 3600), (8081, 0), (8082, 200)):
            await point.add(port, lease_s=lease_s)
        assert [held.lease_s for held in igd.mappings] == [300, 300, 200]
        assert (await point.entry(8080))["NewLeaseDuration"] <= 300
        assert (await pcp_answer(igd, 7000)).lifetime_s == 300
        assert (await natpmp_map(igd, 7001)).lifetime_s == 300
        igd.advance(seconds=301)
        assert not igd.mappings


@shows("fixed-lease")
async def fixed_lease() -> None:
    with Emulator() as igd:
        igd.fault("fixed-lease", "AddPortMapping", seconds=86400)
        point = await ControlPoint.at(igd.location)
        await point.add(8080, lease_s=60)
        assert (await point.entry(8080))["NewLeaseDuration"] > 86000
        igd.fault("fixed-lease", seconds=500)
        assert (await natpmp_map(igd, 7000)).lifetime_s == 500


@shows("other-external-port")
async def other_external_port() -> None:
    with Emulator() as igd:
        igd.fault("other-external-port", offset=1000)
        assert (await natpmp_map(igd, 7000, 7000)).external_port == 8000
        answer = await pcp_answer(igd, 7001, 7001)
        assert answer.map is not None
        assert (answer.map.internal_port, answer.map.external_port) == (7001, 8001)
        point = await ControlPoint.at(igd.location)
        await point.add(7002)
        assert await code_of(point.entry(7002)) == 714
        assert igd.mappings.one(internal_port=7002).external_port == 8002


@shows("random-external-port")
async def random_external_port() -> None:
    with Emulator() as igd:
        igd.fault("random-external-port")
        ports = {(await natpmp_map(igd, internal, internal)).external_port for internal in (7000, 7001, 7002)}
        assert len(ports) == 3
        assert not ports & {7000, 7001, 7002}
        point = await ControlPoint.at(igd.location)
        assert (await point.add_any(7003))["NewReservedPort"] >= 10_000


@shows("internal-port-becomes-external")
async def internal_port_becomes_external() -> None:
    with Emulator() as igd:
        igd.fault("internal-port-becomes-external")
        point = await ControlPoint.at(igd.location)
        await point.add(8080, internal=9090)
        assert (await point.entry(8080))["NewInternalPort"] == 8080


@shows("only-permanent-leases")
async def only_permanent_leases() -> None:
    with Emulator() as igd:
        igd.fault("only-permanent-leases")
        point = await ControlPoint.at(igd.location)
        assert await code_of(point.add(8080)) == 725
        await point.add(8080, lease_s=0)
        assert len(igd.mappings) == 1


@shows("no-permanent-leases")
async def no_permanent_leases() -> None:
    with Emulator() as igd:
        igd.fault("no-permanent-leases")
        point = await ControlPoint.at(igd.location)
        assert await code_of(point.add(8080, lease_s=0)) == 402
        await point.add(8080)


@shows("same-ports-only")
async def same_ports_only() -> None:
    with Emulator() as igd:
        igd.fault("same-ports-only")
        point = await ControlPoint.at(igd.location)
        assert await code_of(point.add(8080, internal=9090)) == 724
        await point.add(8080)


@shows("wildcard-remote-host-only")
async def wildcard_remote_host_only() -> None:
    with Emulator() as igd:
        igd.fault("wildcard-remote-host-only")
        point = await ControlPoint.at(igd.location)
        assert await code_of(point.add(8080, NewRemoteHost="9.9.9.9")) == 726
        await point.add(8080)


@shows("wildcard-external-port-only")
async def wildcard_external_port_only() -> None:
    with Emulator() as igd:
        igd.fault("wildcard-external-port-only")
        assert await code_of((await ControlPoint.at(igd.location)).add(8080)) == 727


@shows("port-zero-refused")
async def port_zero_refused() -> None:
    with Emulator() as igd:
        igd.fault("port-zero-refused")
        assert (await natpmp_map(igd, 7000)).result is natpmp.NatPmpResult.OUT_OF_RESOURCES
        assert (await natpmp_map(igd, 7000, 7000)).result is natpmp.NatPmpResult.SUCCESS
        assert (await pcp_answer(igd, 7001)).result is ResultCode.NO_RESOURCES
        assert (await pcp_answer(igd, 7001, 7001)).result is ResultCode.SUCCESS
        assert (await pcp_answer(igd, 7001, 0, 0)).result is ResultCode.SUCCESS, "a delete"
        assert await code_of((await ControlPoint.at(igd.location)).add(0, 8080)) == 716


@shows("renewal-is-conflict")
async def renewal_is_conflict() -> None:
    with Emulator() as igd:
        igd.fault("renewal-is-conflict")
        point = await ControlPoint.at(igd.location)
        await point.add(8080, lease_s=600)
        assert await code_of(point.add(8080)) == 718
        igd.advance(seconds=600)
        await point.add(8080)


@shows("full-table")
async def full_table() -> None:
    with Emulator() as igd:
        igd.fault("full-table", slots=2)
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        await point.add(8081)
        assert await code_of(point.add(8082)) == 728
        await point.add(8081)
        await point.delete(8080)
        await point.add(8082)


@shows("silent-full-table")
async def silent_full_table() -> None:
    with Emulator() as igd:
        igd.fault("silent-full-table", slots=1)
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        await point.add(8081)
        assert await point.listed() == [8080]


@shows("accepted-and-forgotten")
async def accepted_and_forgotten() -> None:
    with Emulator() as igd:
        igd.fault("accepted-and-forgotten")
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        assert await point.listed() == []


@shows("stays-after-delete")
async def stays_after_delete() -> None:
    with Emulator() as igd:
        igd.fault("stays-after-delete")
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        await point.delete(8080)
        assert await point.listed() == [8080]


@shows("not-listed")
async def not_listed() -> None:
    with Emulator() as igd:
        igd.fault("not-listed")
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        assert await point.listed() == []
        assert await code_of(point.call("GetGenericPortMappingEntry", NewPortMappingIndex=0)) == 713
        assert await code_of(point.entry(8080)) == 714
        assert await code_of(point.call("GetListOfPortMappings", **LIST_OF_ALL)) == 730
        assert len(igd.mappings) == 1


@shows("renumbering-index")
async def renumbering_index() -> None:
    with Emulator() as igd:
        igd.fault("renumbering-index")
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        await point.add(8081)
        assert await point.listed() == [8081, 8080]
        first = await point.call("GetGenericPortMappingEntry", NewPortMappingIndex=0)
        await point.add(8082)
        second = await point.call("GetGenericPortMappingEntry", NewPortMappingIndex=1)
        assert first == second | {"NewLeaseDuration": first["NewLeaseDuration"]}, "a reader sees one entry twice"


@shows("policy")
async def policy() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        with pytest.raises(ConfigError, match="version"):
            igd.fault("policy", text="version = 7")
        assert len(igd.mappings) == 1
        with igd.fault("policy", text=NOBODY):
            assert not igd.mappings
            assert await code_of(point.add(8080)) == 606
        await point.add(8080)


@shows("deny-all")
async def deny_all() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        with igd.fault("deny-all"):
            assert await code_of(point.add(8080)) == 606
            assert (await pcp_answer(igd, 7000)).result is ResultCode.NOT_AUTHORIZED
            assert (await natpmp_map(igd, 7000)).result is natpmp.NatPmpResult.REFUSED
        await point.add(8080)


@shows("without-limits")
async def without_limits() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        for port in range(8080, 8088):
            await point.add(port)
        assert await code_of(point.add(8088)) == 728
        igd.fault("without-limits")
        for port in range(8088, 8098):
            await point.add(port)
        assert len(igd.mappings) == 18


@shows("only-external-ports")
async def only_external_ports() -> None:
    with Emulator() as igd:
        igd.fault("only-external-ports", first=50000, last=50001)
        assert (await natpmp_map(igd, 7000, 7000)).external_port in (50000, 50001)
        point = await ControlPoint.at(igd.location)
        assert await code_of(point.add(7001)) == 606
        await point.add(igd.mappings.one().external_port ^ 1, 7001)


@shows("mappings-gone")
async def mappings_gone() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        igd.fault("mappings-gone")
        assert await point.listed() == []
        await point.add(8080)


@shows("not-forwarding")
async def not_forwarding() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        igd.fault("not-forwarding")
        await point.add(8081)
        assert await point.listed() == [8080, 8081]
        assert [held.forwards for held in igd.mappings] == [True, False]
        assert "not forwarding" in repr(igd.mappings.find(forwards=False))


@shows("slot-table")
async def slot_table() -> None:
    with Emulator() as igd:
        igd.fault("slot-table", slots=2)
        point = await ControlPoint.at(igd.location)
        await point.add(8080)
        await point.add(8081)
        assert await code_of(point.add(8082)) == 501
        assert (await pcp_answer(igd, 7000)).result is ResultCode.NO_RESOURCES
        await point.add(8081)
        await point.delete(8080)
        await point.add(8082)


@shows("firewall-fails")
async def firewall_fails() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        with igd.fault("firewall-fails"):
            assert await code_of(point.add(8080)) == 501
            assert await point.external_address() == igd.external_address, "reads are answered"
        await point.add(8080)
