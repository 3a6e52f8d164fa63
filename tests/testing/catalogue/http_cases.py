"""Answers over HTTP: of actions, of documents and of subscriptions."""

import time

import pytest
from async_upnp_client.exceptions import UpnpError

from tests.testing.catalogue.cases import shows
from tests.testing.catalogue.clients import (
    ControlPoint,
    code_of,
    datagrams,
    exchange,
    fails,
    get,
    pcp_answer,
    raw,
    search,
)
from upnp_gw.protocols.pcp.messages import ResultCode
from upnp_gw.testing import Emulator

READ = "GetExternalIPAddress"
MAP_REQUEST = (
    bytes((2, 1))
    + bytes(6)
    + bytes(10)
    + b"\xff\xff\x7f\0\0\1"
    + bytes(12)
    + b"\6"
    + bytes(3)
    + b"\x20" * 4
    + bytes(16)
)
EVENT_FIELDS = {"CALLBACK": "<http://127.0.0.1:9999/>", "NT": "upnp:event", "TIMEOUT": "Second-300"}


def event_url(igd: Emulator) -> str:
    return igd.control_url("WANIPConnection").replace("/control/", "/event/")


async def breaks_the_client(igd: Emulator, name: str) -> None:
    """The client gives up: on an action, and on the description."""
    point = await ControlPoint.at(igd.location)
    with igd.fault(name, READ) as fault:
        assert await fails(point.external_address())
        assert len(fault.struck) == 1
    with igd.fault(name, "GET"), pytest.raises(UpnpError):
        await ControlPoint.at(igd.location)
    assert await point.external_address() == igd.external_address, "it is taken back"


async def bytes_of(igd: Emulator, name: str) -> tuple[bytes, bytes]:
    """Head and body of the answer to an action, of which the journal has the same."""
    with igd.fault(name, READ, times=1):
        answer = await raw(igd)
    assert answer == igd.requests.of(READ)[-1].sent
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@shows("error")
async def error() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        igd.fault("error", "AddPortMapping", code="ConflictInMappingEntry", times=1)
        assert await code_of(point.add(8080)) == 718
        assert not igd.mappings
        igd.fault("error", "AddPortMapping", code=501, times=1, after=True)
        assert await code_of(point.add(8080)) == 501
        assert igd.mappings.one().external_port == 8080
        igd.fault("error", code="NO_RESOURCES", times=1)
        assert (await pcp_answer(igd, 7000)).result is ResultCode.NO_RESOURCES
        igd.fault("error", "SUBSCRIBE", code=503, times=1)
        assert (await get(event_url(igd), "SUBSCRIBE", EVENT_FIELDS))[0] == 503
        assert not igd.subscribers
        igd.fault("error", "GET", code=404, times=1)
        assert (await get(igd.location))[0] == 404
        assert (await get(igd.location))[0] == 200


@shows("slow")
async def slow() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location, patience_s=0.5)
        igd.fault("slow", READ, seconds=20)
        assert await fails(point.external_address())
        igd.fault("slow", "GET", seconds=0.2)
        began = time.monotonic()
        assert (await get(igd.location))[0] == 200
        assert time.monotonic() - began >= 0.2
        igd.fault("slow", "pcp.map", seconds=0.2)
        began = time.monotonic()
        assert (await pcp_answer(igd, 7000)).result is ResultCode.SUCCESS
        assert time.monotonic() - began >= 0.2
        igd.fault("slow", "M-SEARCH", seconds=0.2)
        began = time.monotonic()
        assert len(await search(igd)) == 1
        assert time.monotonic() - began >= 0.2


@shows("silent")
async def silent() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location, patience_s=0.3)
        with igd.fault("silent", "AddPortMapping"):
            assert await fails(point.add(8080))
        assert igd.mappings.one().external_port == 8080
        with igd.fault("silent", "AddPortMapping", after=False):
            assert await fails(point.add(8081))
        assert len(igd.mappings) == 1
        with igd.fault("silent", "pcp.map"):
            assert await datagrams(igd.pcp_address, MAP_REQUEST, wait_s=0.2) == []
        assert len(await datagrams(igd.pcp_address, MAP_REQUEST)) == 1
        with igd.fault("silent", "GET"), pytest.raises(UpnpError):
            await ControlPoint.at(igd.location, patience_s=0.3)


@shows("reset")
async def reset() -> None:
    with Emulator() as igd:
        await breaks_the_client(igd, "reset")
        with igd.fault("reset", READ), pytest.raises(ConnectionResetError):
            await raw(igd)
        with igd.fault("reset", "SUBSCRIBE"), pytest.raises(ConnectionResetError):
            await get(event_url(igd), "SUBSCRIBE", EVENT_FIELDS)
        point = await ControlPoint.at(igd.location)
        with igd.fault("reset", "AddPortMapping", after=False):
            assert await fails(point.add(8080))
        assert not igd.mappings
        with igd.fault("reset", "AddPortMapping"):
            assert await fails(point.add(8080))
        assert len(igd.mappings) == 1


@shows("reset-in-body")
async def reset_in_body() -> None:
    with Emulator() as igd:
        await breaks_the_client(igd, "reset-in-body")
        with igd.fault("reset-in-body", READ), pytest.raises(ConnectionResetError):
            await raw(igd)
        assert igd.requests.of(READ)[-1].sent.startswith(b"HTTP/1.1 200 OK")


@shows("truncated-body")
async def truncated_body() -> None:
    with Emulator() as igd:
        await breaks_the_client(igd, "truncated-body")
        usual = (await raw(igd)).partition(b"\r\n\r\n")[2]
        head, body = await bytes_of(igd, "truncated-body")
        assert body == usual[: len(usual) // 2]
        assert f"Content-Length: {len(usual)}".encode() in head


@shows("short-content-length")
async def short_content_length() -> None:
    with Emulator() as igd:
        await breaks_the_client(igd, "short-content-length")
        head, body = await bytes_of(igd, "short-content-length")
        assert f"Content-Length: {len(body) // 2}".encode() in head


@shows("long-content-length")
async def long_content_length() -> None:
    with Emulator() as igd:
        await breaks_the_client(igd, "long-content-length")
        head, body = await bytes_of(igd, "long-content-length")
        assert f"Content-Length: {len(body) + 100}".encode() in head


@shows("no-content-length")
async def no_content_length() -> None:
    with Emulator() as igd:
        head, body = await bytes_of(igd, "no-content-length")
        assert b"content-length" not in head.lower()
        assert body.strip().endswith(b"</s:Envelope>")
        igd.fault("no-content-length")
        assert await (await ControlPoint.at(igd.location)).external_address() == igd.external_address


@shows("bare-500")
async def bare_500() -> None:
    with Emulator() as igd:
        await breaks_the_client(igd, "bare-500")
        head, body = await bytes_of(igd, "bare-500")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"<html>" in body
        with igd.fault("bare-500", "SUBSCRIBE"):
            assert (await get(event_url(igd), "SUBSCRIBE", EVENT_FIELDS))[0] == 500


@shows("not-xml")
async def not_xml() -> None:
    with Emulator() as igd:
        await breaks_the_client(igd, "not-xml")
        assert (await bytes_of(igd, "not-xml"))[1] == b"OK"


@shows("wrong-content-type")
async def wrong_content_type() -> None:
    with Emulator() as igd:
        assert b"CONTENT-TYPE: text/plain" in (await bytes_of(igd, "wrong-content-type"))[0]
        with igd.fault("wrong-content-type", "GET"):
            assert b"CONTENT-TYPE: text/plain" in await exchange(igd.location)


@shows("chunked")
async def chunked() -> None:
    with Emulator() as igd:
        head, body = await bytes_of(igd, "chunked")
        assert b"Transfer-Encoding: chunked" in head
        assert body.endswith(b"\r\n0\r\n\r\n")
        igd.fault("chunked")
        assert await (await ControlPoint.at(igd.location)).external_address() == igd.external_address


@shows("byte-order-mark")
async def byte_order_mark() -> None:
    with Emulator() as igd:
        assert (await bytes_of(igd, "byte-order-mark"))[1].startswith(b"\xef\xbb\xbf<?xml")
        with igd.fault("byte-order-mark", "GET"):
            assert (await get(igd.location))[1].startswith(b"\xef\xbb\xbf")


@shows("other-prefixes")
async def other_prefixes() -> None:
    with Emulator() as igd:
        assert b"<SOAP-ENV:Body><m:GetExternalIPAddressResponse" in (await bytes_of(igd, "other-prefixes"))[1]
        igd.fault("other-prefixes")
        assert await (await ControlPoint.at(igd.location)).external_address() == igd.external_address


@shows("default-namespaces")
async def default_namespaces() -> None:
    with Emulator() as igd:
        body = (await bytes_of(igd, "default-namespaces"))[1]
        assert b"<Body><GetExternalIPAddressResponse xmlns=" in body
        point = await ControlPoint.at(igd.location)
        with igd.fault("default-namespaces", READ):
            assert await fails(point.external_address()), "the out-argument has a namespace, too"


@shows("other-service-version")
async def other_service_version() -> None:
    with Emulator() as igd:
        assert b"service:WANIPConnection:1" in (await bytes_of(igd, "other-service-version"))[1]
        point = await ControlPoint.at(igd.location)
        with igd.fault("other-service-version", READ):
            assert await fails(point.external_address())


@shows("nul-terminated")
async def nul_terminated() -> None:
    with Emulator() as igd:
        assert (await bytes_of(igd, "nul-terminated"))[1].endswith(b"\0")
        with igd.fault("nul-terminated", "GET"):
            assert (await get(igd.location))[1].endswith(b"\0")


@shows("capital-fault-elements")
async def capital_fault_elements() -> None:
    with Emulator() as igd:
        igd.fault("error", "GetExternalIPAddress", code=501)
        body = (await bytes_of(igd, "capital-fault-elements"))[1]
        assert b"<faultCode>s:Client</faultCode><faultString>UPnPError</faultString>" in body


@shows("other-error-code")
async def other_error_code() -> None:
    with Emulator() as igd:
        point = await ControlPoint.at(igd.location)
        assert await code_of(point.delete(8080)) == 714
        igd.fault("other-error-code", of=714, code=501)
        assert await code_of(point.delete(8080)) == 501
        assert await code_of(point.add(22)) == 606, "other codes stay"


@shows("missing-scpd")
async def missing_scpd() -> None:
    with Emulator() as igd:
        igd.fault("missing-scpd")
        assert (await get(igd.location))[0] == 200
        with pytest.raises(UpnpError):
            await ControlPoint.at(igd.location)
        assert {request.path.split("/")[1] for request in igd.requests.of("GET")} == {"igd2.xml", "scpd"}


@shows("scpd-without-namespace")
async def scpd_without_namespace() -> None:
    with Emulator() as igd:
        igd.fault("scpd-without-namespace")
        document = igd.location.replace("igd2.xml", "scpd/igd2/WANIPConnection.xml")
        assert b"service-1-0" not in (await get(document))[1]
        with pytest.raises(UpnpError):
            await ControlPoint.at(igd.location)
