"""The control API over a real unix socket."""

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import ROOT
from tests.fixtures.fake_operator import STATUS, FakeOperator, decision, mapping
from tests.fixtures.plain_words import raw_words
from tests.fixtures.waiting import EVENT_S
from upnp_gw import api
from upnp_gw.cli.schema import document
from upnp_gw.control import server as control_server
from upnp_gw.control.backup import BackupCommands
from upnp_gw.control.devices import DeviceCommands
from upnp_gw.control.erase import EraseCommands
from upnp_gw.control.evidence import EvidenceCommands
from upnp_gw.control.kernel_proof import KernelProofCommands
from upnp_gw.control.known_device import KnownDeviceCommands
from upnp_gw.control.leases import LeaseCommands
from upnp_gw.control.measurements import MeasurementCommands
from upnp_gw.control.policy import PolicyCommands
from upnp_gw.control.server import STATUS_OF, WATCHERS_MAX, ControlServer, Operator
from upnp_gw.control.socket_path import SOCKET_NAME, Claim, listen
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import DecisionId
from upnp_gw.model.request import Refusal, Refused

ADD = {"transport": "tcp", "external_port": 8080, "internal_client": "192.168.1.23", "internal_port": 80}
FIELDS_OF_THE_ISSUE = [
    *("id", "kind", "transport", "external_address", "external_port", "internal_client", "internal_port"),
    *("remote_host", "via", "device", "description", "granted_at", "expires_at", "lease_left_s", "connections"),
    *("bytes", "last_used", "rule", "decision"),
]


def socket_of(runtime_dir: Path) -> Path:
    return runtime_dir / SOCKET_NAME


@pytest.fixture
def operator() -> Operator:
    return FakeOperator()


@pytest.fixture
async def server(operator: FakeOperator, tmp_path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(operator, tmp_path)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server: ControlServer, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        base_url="http://localhost", connector=aiohttp.UnixConnector(str(socket_of(tmp_path)))
    ) as session:
        yield session


async def ask(client: aiohttp.ClientSession, method: str, path: str, **given: Any) -> tuple[int, Any]:
    async with client.request(method, path, **given) as answer:
        assert answer.content_type == "application/json"
        return answer.status, json.loads(await answer.read())


async def test_a_mapping_has_the_fields_of_the_contract(
    client: aiohttp.ClientSession, operator: FakeOperator
) -> None:
    operator.held = [mapping(1), mapping(2, lease_left_s=None, expires_at=None)]
    status, answer = await ask(client, "GET", "/v1/mappings")
    assert status == 200
    assert list(answer[0])[: len(FIELDS_OF_THE_ISSUE)] == FIELDS_OF_THE_ISSUE
    assert set(answer[0]) - set(FIELDS_OF_THE_ISSUE) == {*("state", "device_name", "vias", "remote_port", "above")}
    assert answer[0]["granted_at"].endswith("Z")
    assert answer[1]["expires_at"] is None
    assert await ask(client, "GET", "/v1/mappings/m2") == (200, answer[1])


async def test_add_and_delete(client: aiohttp.ClientSession, operator: FakeOperator) -> None:
    status, made = await ask(client, "POST", "/v1/mappings", json=ADD)
    assert (status, made["external_port"], made["internal_port"]) == (200, 8080, 80)
    assert made.pop("crosses") == []
    assert await ask(client, "DELETE", f"/v1/mappings/{made['id']}") == (200, made)
    assert operator.held == []


BAD_BODIES = [
    (b"", None, "not JSON"),
    (b"{", None, "not JSON"),
    (b"\xff", None, "not JSON"),
    (b'{"description": "\xff"}', None, "not JSON"),
    (b"[]", None, "the body is a list; accepted: fields in braces, such as {...}: transport, external_port"),
    (b"{}", "transport", 'missing; accepted: "tcp" or "udp"'),
    ({"transport": "sctp"}, "transport", 'got "sctp"; accepted: "tcp" or "udp"'),
    ({"external_port": 0}, "external_port", "got 0; accepted: a port 1 to 65535, such as 8080"),
    ({"external_port": 65536}, "external_port", "got 65536; accepted: a port 1 to 65535, such as 8080"),
    ({"external_port": "80"}, "external_port", 'got "80"; accepted: a port 1 to 65535, such as 8080'),
    ({"external_port": 1.5}, "external_port", "got 1.5; accepted: a port"),
    ({"internal_client": "nas.lan"}, "internal_client", 'got "nas.lan"; accepted: an IPv4 or IPv6 address'),
    ({"internal_client": "fe80::1%eth0"}, "internal_client", "zone"),
    ({"internal_client": "2001:db8::1", "internal_port": 81}, "internal_port", "pinhole"),
    (
        {"internal_client": "2001:db8::1", "internal_port": None, "external_address": "198.51.100.7"},
        "external_address",
        "",
    ),
    ({"remote_host": "everyone"}, "remote_host", "prefix"),
    ({"remote_host": "203.0.113.9/24"}, "remote_host", "prefix"),
    ({"remote_host": "2001:db8::/32"}, "remote_host", "IPv4"),
    ({"external_address": "2001:db8::1"}, "external_address", "IPv4"),
    ({"lease_s": 0}, "lease_s", "got 0; accepted: seconds 1 to 31622400, such as 3600"),
    ({"lease_s": 10**9}, "lease_s", "got 1000000000; accepted: seconds"),
    ({"lease_s": 60, "permanent": True}, "lease_s", "either"),
    ({"description": "x" * 257}, "description", "256"),
    ({"ttl": 60}, "ttl", "unknown; accepted: transport, external_port, internal_client"),
]


@pytest.mark.parametrize(("body", "field", "message"), BAD_BODIES)
async def test_a_bad_body_is_refused_with_its_field(
    client: aiohttp.ClientSession,
    operator: FakeOperator,
    body: bytes | dict[str, object],
    field: str | None,
    message: str,
) -> None:
    data = body if isinstance(body, bytes) else json.dumps({**ADD, **body})
    status, problem = await ask(client, "POST", "/v1/mappings", data=data)
    assert (status, problem["error"], problem["field"]) == (400, "invalid", field)
    assert message in problem["message"]
    assert raw_words(problem["message"]) == []
    assert operator.asked == []


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("limit=0", "limit", 'got "0"; accepted: a number 1 to 10000, such as 100'),
        ("limit=x", "limit", 'got "x"; accepted: a number 1 to 10000, such as 100'),
        ("verdict=yes", "verdict", 'got "yes"; accepted: "allow", "deny", "ask" or "busy"'),
        ("since=noon", "since", 'got "noon"; accepted: a time with its offset, such as 2027-05-01T12:00:00Z'),
        ("vai=pcp", "vai", "unknown; accepted: device, verdict, via, since"),
        ("before=17", "before", 'got "17"; accepted: the id of a decision, such as "d17"'),
    ],
)
async def test_a_bad_query_is_refused_with_its_parameter(
    client: aiohttp.ClientSession, query: str, field: str, message: str
) -> None:
    status, problem = await ask(client, "GET", f"/v1/decisions?{query}")
    assert (status, problem["error"], problem["field"]) == (400, "invalid", field)
    assert problem["message"].startswith(message)


async def test_decisions_are_filtered(client: aiohttp.ClientSession, operator: FakeOperator) -> None:
    operator.decided = [decision(1), decision(2, verdict="allow"), decision(3)]
    status, answer = await ask(client, "GET", "/v1/decisions?device=192.168.1.77&verdict=deny&limit=1&via=igd2")
    assert (status, [d["id"] for d in answer]) == (200, ["d3"])
    assert operator.asked == [api.DecisionFilter(device="192.168.1.77", verdict="deny", limit=1, via="igd2")]  # type: ignore[arg-type]


@pytest.mark.parametrize("refusal", Refusal)
async def test_every_refusal_has_a_status(
    client: aiohttp.ClientSession, operator: FakeOperator, refusal: Refusal
) -> None:
    operator.refuse = Refused(refusal, "because", DecisionId("d7"))
    status, problem = await ask(client, "POST", "/v1/mappings", json=ADD)
    body = {"error": refusal.value, "message": "because", "field": None, "decision": "d7", "holder": None}
    assert problem == body
    assert status == STATUS_OF[refusal] >= 400


@pytest.mark.parametrize(
    ("method", "path", "expected", "word"),
    [
        ("GET", "/v1/mappings/m9", 404, "no-such-mapping"),
        ("DELETE", "/v1/mappings/m9", 404, "no-such-mapping"),
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1/../etc/passwd", 404, "not-found"),
        ("PUT", "/v1/mappings", 405, "invalid"),
    ],
)
async def test_unknown_paths_and_ids(
    client: aiohttp.ClientSession, method: str, path: str, expected: int, word: str
) -> None:
    status, problem = await ask(client, method, path)
    assert (status, problem["error"]) == (expected, word)


async def test_a_huge_body_is_refused(client: aiohttp.ClientSession) -> None:
    status, _ = await ask(client, "POST", "/v1/mappings", data=b" " * 20_000)
    assert status == 413


async def test_an_unforeseen_fault_sends_no_details(
    client: aiohttp.ClientSession,
    operator: FakeOperator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> api.Status:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(operator, "status", broken)
    status, problem = await ask(client, "GET", "/v1/status")
    assert (status, problem["error"]) == (500, "internal")
    assert "secret" not in json.dumps(problem)
    assert "secret detail" in caplog.text


async def test_status_devices_doctor(client: aiohttp.ClientSession) -> None:
    assert await ask(client, "GET", "/v1/status") == (200, json.loads(api.encode(STATUS)))
    assert (await ask(client, "GET", "/v1/devices"))[1][0]["refused"] == 27
    assert (await ask(client, "GET", "/v1/doctor"))[1][0]["outcome"] == "ok"


async def test_events_follow_hello(client: aiohttp.ClientSession, operator: FakeOperator) -> None:
    async with client.get("/v1/events") as stream:
        assert stream.content_type == "application/x-ndjson"
        assert json.loads(await stream.content.readline())["event"] == "hello"
        await ask(client, "POST", "/v1/mappings", json=ADD)
        added = json.loads(await stream.content.readline())
        assert (added["event"], added["mapping"]["external_port"]) == ("added", 8080)
        operator.publish(None)
        assert await stream.content.read() == b""


async def test_watchers_are_bounded_and_forgotten_when_they_go(
    client: aiohttp.ClientSession, operator: FakeOperator
) -> None:
    async with AsyncExitStack() as streams:
        for _ in range(WATCHERS_MAX):
            stream = await streams.enter_async_context(client.get("/v1/events"))
            await stream.content.readline()
        status, problem = await ask(client, "GET", "/v1/events")
        assert (status, problem["error"]) == (503, "busy")
    async with asyncio.timeout(EVENT_S):
        while operator.watchers:  # noqa: ASYNC110 - the server learns of a closed socket from the loop
            await asyncio.sleep(0)


async def test_close_ends_the_streams_at_once(
    operator: FakeOperator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_server, "SHUTDOWN_S", 2 * EVENT_S)
    server = ControlServer(operator, tmp_path)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(socket_of(tmp_path)))
    writer.write(b"GET /v1/events HTTP/1.0\r\n\r\n")
    await reader.readuntil(b"hello")
    async with asyncio.timeout(EVENT_S):
        await server.close()
        await reader.read()
    assert operator.watchers == []
    assert not socket_of(tmp_path).exists()
    writer.close()
    await writer.wait_closed()


async def test_a_change_goes_on_when_its_client_hangs_up(
    server: ControlServer, operator: FakeOperator, tmp_path: Path
) -> None:
    operator.gate.clear()
    body = json.dumps(ADD).encode()
    _, writer = await asyncio.open_unix_connection(str(socket_of(tmp_path)))
    writer.write(b"POST /v1/mappings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(EVENT_S):
        while not operator.asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        for _ in range(50):
            await asyncio.sleep(0)
        operator.gate.set()
        while not operator.held:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_the_socket_is_its_owners_alone(server: ControlServer, tmp_path: Path) -> None:
    assert stat.S_IMODE(socket_of(tmp_path).stat().st_mode) == 0o600


def test_a_group_may_be_let_in(tmp_path: Path) -> None:
    import grp

    group = grp.getgrgid(os.getgid()).gr_name
    with listen(tmp_path / "control.sock", group):
        found = (tmp_path / "control.sock").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())


def test_an_unknown_group_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no group 'nobody-has-this'"):
        listen(tmp_path / "control.sock", "nobody-has-this")


def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "control.sock"
    listen(path).close()
    assert path.exists()
    with listen(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_living_daemons_socket_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with listen(path):
        with pytest.raises(ConfigError, match="another upnp-gw answers there"):
            listen(path)
        assert path.exists()


AS_NOBODY = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs")
LISTEN = """
import sys
from pathlib import Path
from upnp_gw.control.socket_path import listen

listen(Path(sys.argv[1])).close()
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or Path("/proc/self/uid_map").read_text("ascii").split()[-1] == "1",
    reason="only root of a machine can leave a socket to another user",
)
@pytest.mark.parametrize("alive", [False, True])
def test_a_dead_socket_of_root_is_taken_over_by_the_daemons_own_user(alive: bool) -> None:
    with tempfile.TemporaryDirectory() as made, socket.socket(socket.AF_UNIX) as left:
        directory = Path(made)  # below /tmp: other users cannot enter pytest's own directories
        shutil.chown(directory, "nobody")
        path = directory / "control.sock"
        left.bind(str(path))
        left.listen()
        path.chmod(0o600)
        if not alive:
            left.close()
        ran = subprocess.run(
            [*AS_NOBODY, sys.executable, "-c", LISTEN, str(path)], capture_output=True, text=True, check=False
        )
        if alive:
            assert "a upnp-gw of another user answers there" in ran.stderr
        else:
            assert (ran.returncode, ran.stderr) == (0, "")


def test_a_file_in_its_place_is_kept(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(ConfigError, match="exists and is not a socket"):
        listen(tmp_path / "control.sock")
    assert (tmp_path / "control.sock").read_text() == "mine"


def test_a_path_that_is_too_long_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        listen(tmp_path / ("x" * 100) / "control.sock")


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        listen(tmp_path / "file" / "control.sock")


async def test_close_leaves_another_daemons_socket(operator: FakeOperator, tmp_path: Path) -> None:
    server = ControlServer(operator, tmp_path)
    await server.start()
    socket_of(tmp_path).unlink()
    with listen(socket_of(tmp_path)):
        await server.close()
        assert socket_of(tmp_path).exists()


async def test_a_connection_after_the_claim_waits_for_the_answer(operator: FakeOperator, tmp_path: Path) -> None:
    claim = Claim(tmp_path)
    with pytest.raises(ConfigError, match="another upnp-gw answers there"):
        Claim(tmp_path)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(claim.path))) as session:
        request = asyncio.create_task(ask(session, "GET", "http://localhost/v1/mappings"))
        await asyncio.sleep(0)
        server = ControlServer(operator, tmp_path, claim=claim)
        await server.start()
        assert await request == (200, [])
    await server.close()
    assert claim.path.exists()
    claim.release()
    assert not claim.path.exists()


def test_the_schema_on_file_is_the_schema_in_force() -> None:
    on_file = json.loads((ROOT / "docs" / "api.json").read_text("utf-8"))
    assert on_file == document(), "run: upnp-gw api-schema > docs/api.json"


def test_the_schema_resolves_all_its_references() -> None:
    text = json.dumps(document())
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(document()["components"]["schemas"])
    assert {"Mapping", "AddMapping", "Problem", "Event", "Status", "Decision", "Device", "Check"} <= named


def test_every_operation_is_in_the_schema() -> None:
    paths = document()["paths"]
    for operation, route in api.ROUTES.items():
        assert paths[route.path][route.method.lower()]["operationId"] == operation
        parts = (
            Operator,
            DeviceCommands,
            KnownDeviceCommands,
            PolicyCommands,
            KernelProofCommands,
            EvidenceCommands,
            MeasurementCommands,
            BackupCommands,
            EraseCommands,
            LeaseCommands,
        )
        assert any(hasattr(part, operation) for part in parts)
