"""Personalities, as a client meets them."""

import re

import pytest
from async_upnp_client.exceptions import UpnpError

from tests.fixtures.waiting import async_until
from tests.testing.catalogue.cases import shows_personality
from tests.testing.catalogue.clients import (
    ControlPoint,
    code_of,
    datagrams,
    get,
    natpmp_answer,
    pcp_answer,
    pcp_bytes,
    raw,
    search,
    subscribed,
)
from tests.testing.catalogue.description_cases import description, element, works
from tests.testing.catalogue.machine_cases import add_pinhole, told_address
from tests.testing.catalogue.mapping_cases import natpmp_map
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing import Emulator

IGD1 = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"


async def point_of(igd: Emulator) -> ControlPoint:
    return await ControlPoint.at(igd.location)


async def has_version_1_only(igd: Emulator) -> None:
    assert IGD1 in await description(igd)
    assert (await get(igd.location_v2))[0] == 404


@shows_personality("v1-only")
async def v1_only() -> None:
    with Emulator(personality="v1-only") as igd:
        await has_version_1_only(igd)
        assert not (await point_of(igd)).with_action("AddAnyPortMapping")


@shows_personality("v2-only")
async def v2_only() -> None:
    with Emulator(personality="v2-only") as igd:
        [answer] = await search(igd, IGD1)
        assert "InternetGatewayDevice:2" in await description(igd, answer["LOCATION"])


@shows_personality("v1-search-v2-description")
async def v1_search_v2_description() -> None:
    with Emulator(personality="v1-search-v2-description") as igd:
        [answer] = await search(igd, IGD1)
        assert answer["ST"] == IGD1
        assert "InternetGatewayDevice:2" in await description(igd, answer["LOCATION"])


@shows_personality("ppp-connection")
async def ppp_connection() -> None:
    with Emulator(personality="ppp-connection") as igd:
        await has_version_1_only(igd)
        [service] = (await point_of(igd)).with_action("AddPortMapping")
        assert service.service_type.endswith(":WANPPPConnection:1")
        await works(igd)


@shows_personality("two-wan-connections-one-down")
async def two_wan_connections_one_down() -> None:
    with Emulator(personality="two-wan-connections-one-down") as igd:
        urls = re.findall("<controlURL>([^<]*/WANIPConnection)</controlURL>", await description(igd))
        states = [b"Disconnected" in await raw(igd, "GetStatusInfo", path=url) for url in urls]
        assert states == [True, False]


@shows_personality("spaces-in-urls")
async def spaces_in_urls() -> None:
    with Emulator(personality="spaces-in-urls") as igd:
        assert " " in element(await description(igd), "controlURL")
        await works(igd)


@shows_personality("spaces-around-urls")
async def spaces_around_urls() -> None:
    with Emulator(personality="spaces-around-urls") as igd, pytest.raises(UpnpError):
        await point_of(igd)


@shows_personality("relative-control-urls-with-urlbase")
async def relative_control_urls() -> None:
    with Emulator(personality="relative-control-urls-with-urlbase") as igd:
        await has_version_1_only(igd)
        xml = await description(igd)
        assert (await get(element(xml, "URLBase") + element(xml, "SCPDURL")))[0] == 200
        with pytest.raises(UpnpError):
            await point_of(igd)  # this client does not know URLBase


@shows_personality("urlbase-without-port")
async def urlbase_without_port() -> None:
    with Emulator(personality="urlbase-without-port") as igd:
        await has_version_1_only(igd)
        assert element(await description(igd), "URLBase") == f"http://{igd.gateway_address}"
        await works(igd)


@shows_personality("upper-case-udn")
async def upper_case_udn() -> None:
    with Emulator(personality="upper-case-udn") as igd:
        udn = element(await description(igd), "UDN").removeprefix("uuid:")
        assert udn == udn.upper()
        answers = await search(igd, wait_s=0.5, most=2)
        assert all(answer["USN"] == answer["USN"].lower() for answer in answers)


@shows_personality("other-udn-in-ssdp")
async def other_udn_in_ssdp() -> None:
    with Emulator(personality="other-udn-in-ssdp") as igd:
        [answer] = await search(igd)
        assert answer["USN"].partition("::")[0] not in await description(igd, answer["LOCATION"])


@shows_personality("no-ssdp")
async def no_ssdp() -> None:
    with Emulator(personality="no-ssdp") as igd:
        assert await search(igd, wait_s=0.3) == []
        await works(igd)


@shows_personality("rootdevice-search-only")
async def rootdevice_search_only() -> None:
    with Emulator(personality="rootdevice-search-only") as igd:
        assert await search(igd, IGD1, wait_s=0.3) == []
        assert await search(igd)


@shows_personality("missing-service-descriptions")
async def missing_service_descriptions() -> None:
    with Emulator(personality="missing-service-descriptions") as igd:
        with pytest.raises(UpnpError):
            await point_of(igd)
        assert b"200 OK" in await raw(igd)


@shows_personality("broken-xml")
async def broken_xml() -> None:
    with Emulator(personality="broken-xml") as igd:
        assert (await description(igd)).endswith("\0")
        with pytest.raises(UpnpError):
            await point_of(igd)


@shows_personality("stale-events")
async def stale_events() -> None:
    with Emulator(personality="stale-events") as igd:
        async with subscribed(igd) as subscriber:
            await async_until(lambda: len(subscriber.addresses) == 1)
            igd.change_wan(external_address="9.9.9.9")
            await async_until(lambda: subscriber.addresses == ["11.22.33.44", "11.22.33.44"])
            assert await (await point_of(igd)).external_address() == "9.9.9.9"


@shows_personality("no-check-pinhole-working")
async def no_check_pinhole_working() -> None:
    with Emulator(personality="no-check-pinhole-working") as igd:
        point = await ControlPoint.at(igd.location_ipv6)
        assert await code_of(point.call("CheckPinholeWorking", UniqueID=await add_pinhole(point))) == 403


@shows_personality("only-permanent-leases")
async def only_permanent_leases() -> None:
    with Emulator(personality="only-permanent-leases") as igd:
        point = await point_of(igd)
        assert await code_of(point.add(8080)) == 725
        assert b"<faultCode>" in igd.requests.of("AddPortMapping")[-1].sent
        await point.add(8080, lease_s=0)


@shows_personality("no-permanent-leases")
async def no_permanent_leases() -> None:
    with Emulator(personality="no-permanent-leases") as igd:
        point = await point_of(igd)
        assert await code_of(point.add(8080, lease_s=0)) == 402
        await (await ControlPoint.at(igd.location_v1)).add(8080, lease_s=700000)
        assert igd.mappings.one().lease_s == 604800


@shows_personality("lease-always-a-day")
async def lease_always_a_day() -> None:
    with Emulator(personality="lease-always-a-day") as igd:
        point = await point_of(igd)
        await point.add(8080, lease_s=0)
        assert 86300 < (await point.entry(8080))["NewLeaseDuration"] <= 86400


@shows_personality("mappings-vanish")
async def mappings_vanish() -> None:
    with Emulator(personality="mappings-vanish") as igd:
        point = await point_of(igd)
        await point.add(8080)
        igd.advance(seconds=11)
        assert await code_of(point.entry(8080)) == 714


@shows_personality("sixteen-slot-table")
async def sixteen_slot_table() -> None:
    with Emulator(personality="sixteen-slot-table") as igd:
        point = await point_of(igd)
        for port in range(8080, 8096):
            await point.add(port)
        assert await code_of(point.add(8096)) == 402
        assert len(await point.listed()) == 16


@shows_personality("full-table-says-success")
async def full_table_says_success() -> None:
    with Emulator(personality="full-table-says-success") as igd:
        point = await point_of(igd)
        for port in range(8080, 8113):
            await point.add(port)
        await point.delete(8080)
        assert await point.listed() == list(range(8080, 8112))


@shows_personality("accepts-and-forgets")
async def accepts_and_forgets() -> None:
    with Emulator(personality="accepts-and-forgets") as igd:
        point = await point_of(igd)
        await point.add(8080)
        assert await point.listed() == []


@shows_personality("renewal-is-conflict")
async def renewal_is_conflict() -> None:
    with Emulator(personality="renewal-is-conflict") as igd:
        point = await point_of(igd)
        await point.add(8080)
        assert await code_of(point.add(8080)) == 718


@shows_personality("renumbering-index")
async def renumbering_index() -> None:
    with Emulator(personality="renumbering-index") as igd:
        point = await point_of(igd)
        for port in (8080, 8081, 8082):
            await point.add(port)
        assert await point.listed() == [8082, 8081, 8080]


@shows_personality("did-it-and-says-501")
async def did_it_and_says_501() -> None:
    with Emulator(personality="did-it-and-says-501") as igd:
        point = await point_of(igd)
        assert await code_of(point.add(8080)) == 501
        assert await point.listed() == [8080]
        assert await code_of(point.delete(8080)) == 501
        assert await point.listed() == []


@shows_personality("says-no-such-entry-as-501")
async def says_no_such_entry_as_501() -> None:
    with Emulator(personality="says-no-such-entry-as-501") as igd:
        assert await code_of((await point_of(igd)).entry(8080)) == 501


@shows_personality("refuses-others-as-718")
async def refuses_others_as_718() -> None:
    with Emulator(personality="refuses-others-as-718") as igd:
        point = await point_of(igd)
        assert await code_of(point.add(8080, NewInternalClient="127.0.0.9")) == 718


@shows_personality("same-ports-only")
async def same_ports_only() -> None:
    with Emulator(personality="same-ports-only") as igd:
        await has_version_1_only(igd)
        assert await code_of((await point_of(igd)).add(8080, internal=9090)) == 724


@shows_personality("internal-port-ignored")
async def internal_port_ignored() -> None:
    with Emulator(personality="internal-port-ignored") as igd:
        point = await point_of(igd)
        await point.add(8080, internal=9090)
        assert (await point.entry(8080))["NewInternalPort"] == 8080


@shows_personality("external-port-zero-refused")
async def external_port_zero_refused() -> None:
    with Emulator(personality="external-port-zero-refused") as igd:
        assert (await natpmp_map(igd, 7000)).result is natpmp.NatPmpResult.OUT_OF_RESOURCES


@shows_personality("external-port-always-random")
async def external_port_always_random() -> None:
    with Emulator(personality="external-port-always-random") as igd:
        assert (await natpmp_map(igd, 7000, 7000)).external_port >= 10_000


@shows_personality("double-nat")
async def double_nat() -> None:
    with Emulator(personality="double-nat") as igd:
        assert await (await point_of(igd)).external_address() == "192.168.1.7"


@shows_personality("carrier-nat")
async def carrier_nat() -> None:
    with Emulator(personality="carrier-nat") as igd:
        assert await told_address(igd) == "100.64.0.7"


@shows_personality("unspecified-external-address")
async def unspecified_external_address() -> None:
    with Emulator(personality="unspecified-external-address") as igd:
        assert await (await point_of(igd)).external_address() == "0.0.0.0"


@shows_personality("no-external-address")
async def no_external_address() -> None:
    with Emulator(personality="no-external-address") as igd:
        assert await (await point_of(igd)).external_address() == ""


@shows_personality("natpmp-only")
async def natpmp_only() -> None:
    with Emulator(personality="natpmp-only") as igd:
        answer = await pcp_bytes(igd, 7000)
        assert (answer[0], answer[3]) == (natpmp.VERSION, natpmp.NatPmpResult.UNSUPPORTED_VERSION)
        assert (await natpmp_map(igd, 7000)).result is natpmp.NatPmpResult.SUCCESS
        assert await search(igd, wait_s=0.3) == []


@shows_personality("pcp-version-1-only")
async def pcp_version_1_only() -> None:
    with Emulator(personality="pcp-version-1-only") as igd:
        answer = await pcp_answer(igd, 7000)
        assert (answer.result, answer.version) == (ResultCode.UNSUPP_VERSION, 1)
        [answered] = await datagrams(igd.pcp_address, natpmp.build_request(natpmp.AddressRequest()))
        assert answered[3] == ResultCode.UNSUPP_VERSION


@shows_personality("natpmp-with-pcp-version")
async def natpmp_with_pcp_version() -> None:
    with Emulator(personality="natpmp-with-pcp-version") as igd:
        assert (await natpmp_answer(igd))[:2] == b"\x02\x80"


@shows_personality("natpmp-ports-truncated")
async def natpmp_ports_truncated() -> None:
    with Emulator(personality="natpmp-ports-truncated") as igd:
        assert (await natpmp_map(igd, 22002, 28174)).external_port == 14


@shows_personality("epoch-of-eighty-years")
async def epoch_of_eighty_years() -> None:
    with Emulator(personality="epoch-of-eighty-years") as igd:
        assert (await pcp_answer(igd, 7000)).epoch_s > 79 * 365 * 86400


@shows_personality("pcp-forgets-nonces")
async def pcp_forgets_nonces() -> None:
    with Emulator(personality="pcp-forgets-nonces") as igd:
        answers = [pcp.parse_response(await pcp_bytes(igd, 7000)) for _ in range(2)]
        assert [answer.result for answer in answers] == [ResultCode.SUCCESS, ResultCode.NOT_AUTHORIZED]
