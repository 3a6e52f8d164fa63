"""Every operation of the control API, on one process that is as new before each test; and who may not ask."""

import base64
import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
import pytest
from openapi_spec_validator import validate

from tests import ROOT
from tests.testing.api.process import COMMAND, Process, Refused, emulating
from tests.testing.portable_client import add_port_mapping, subscriber
from upnp_gw.cli.schema import emulator_document
from upnp_gw.testing.api.routes import ROUTES


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    with emulating("--multicast") as running:
        yield running


@pytest.fixture
def igd(process: Process) -> Process:
    process.ask("reset", {"as_new": True})
    return process


def map_port(igd: Process, port: int = 8080) -> None:
    add_port_mapping(igd.state().control_url, port)


def test_the_document_on_file_is_valid_and_is_that_of_the_routes() -> None:
    on_file = json.loads((ROOT / "docs" / "emulate-api.json").read_text("utf-8"))
    assert on_file == emulator_document(), "run: upnp-gw api-schema --emulator > docs/emulate-api.json"
    validate(on_file)
    operations = {one["operationId"] for path in on_file["paths"].values() for one in path.values()}
    assert operations == set(ROUTES)
    schemas = on_file["components"]["schemas"]
    assert schemas["HeldMapping"]["properties"]["lease_s"]["description"].startswith("Seconds, as it was granted")
    waits = {parameter["name"]: parameter for parameter in on_file["paths"]["/v1/mappings"]["get"]["parameters"]}
    assert waits["wait_s"]["schema"]["description"].startswith("Wait until there are count of them")
    bodies = {
        path: one["post"]["requestBody"]["required"]
        for path, one in on_file["paths"].items()
        if "post" in one and "requestBody" in one["post"]
    }
    assert (bodies["/v1/answers"], bodies["/v1/reboot"]) == (True, False)


def test_mappings_requests_and_state(igd: Process) -> None:
    map_port(igd, 8080)
    map_port(igd, 8081)
    [held] = igd.ask("mappings", query="?internal_port=8080&transport=tcp")
    assert (held.external_port, held.lease_s, held.internal_client, held.via) == (8080, 3600, "127.0.0.1", "igd2")
    assert len(igd.ask("mappings")) == 2
    assert igd.ask("pinholes") == []
    [request] = igd.ask("requests", query="?action=AddPortMapping&count=1")[1:]
    assert request.arguments["NewExternalPort"] == "8081"
    assert b"<NewExternalPort>8081</NewExternalPort>" in request.received
    assert request.sent.startswith(b"HTTP/1.1 200 OK\r\n")
    raw = json.loads(igd.raw("GET", "/v1/requests?action=AddPortMapping"))
    assert base64.b64decode(raw[1]["received"]) == request.received
    assert igd.ask("requests", query="?protocol=pcp") == []
    state = igd.state()
    assert (state.mappings, state.requests, state.external_address, state.wan_up) == (2, 2, "11.22.33.44", True)


def test_a_query_waits_for_what_comes(igd: Process) -> None:
    later = threading.Timer(0.3, map_port, (igd, 9090))
    later.start()
    [held] = igd.ask("mappings", query="?internal_port=9090&wait_s=10")
    assert held.description == "portable"
    later.join()
    with pytest.raises(Refused, match=r"within 0\.1 s not 2, but 1 .*request") as late:
        igd.ask("requests", query="?action=AddPortMapping&count=2&wait_s=0.1")
    assert (late.value.status, late.value.problem.error) == (409, "too-late")


def test_a_query_waits_for_the_answers_of_requests_too(igd: Process) -> None:
    igd.ask("put_fault", {"text": "AddPortMapping=own,delay=1"})
    later = threading.Thread(target=map_port, args=(igd,))
    later.start()
    [running] = igd.ask("requests", query="?action=AddPortMapping&wait_s=10&answered=false")
    assert (running.answers, running.error) == ([], None)
    [done] = igd.ask("requests", query="?action=AddPortMapping&wait_s=10")
    assert done.sent.startswith(b"HTTP/1.1 200 OK")
    later.join()


def test_a_method_that_a_path_does_not_have_is_answered_with_those_it_has(igd: Process) -> None:
    place = urlsplit(igd.first.control)
    connection = http.client.HTTPConnection(place.netloc, timeout=5)
    connection.request("PATCH", "/v1/faults")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, GET, POST")
    connection.close()


def test_a_fault_is_put_shown_and_taken_back(igd: Process) -> None:
    one = igd.ask("put_fault", {"text": "AddPortMapping=718,times=1"})
    two = igd.ask("put_fault", {"name": "error", "action": "DeletePortMapping", "parameters": {"code": 501}})
    three = igd.ask(
        "put_answer", {"action": "GetExternalIPAddress", "values": {"NewExternalIPAddress": "10.0.0.7"}}
    )
    assert [fault.id for fault in igd.ask("faults")] == [one.id, two.id, three.id]
    assert (one.name, one.action, one.left, one.struck) == ("error", "AddPortMapping", 1, 0)
    with pytest.raises(OSError, match="500"):
        map_port(igd)
    map_port(igd)
    assert [request.error for request in igd.ask("requests", query="?action=AddPortMapping")] == [718, None]
    assert [fault.id for fault in igd.ask("faults")] == [two.id, three.id]
    ended = igd.ask("fault", number=one.id)
    assert (ended.left, ended.struck) == (0, 1)
    assert igd.ask("take_back", number=two.id).id == two.id
    assert [fault.id for fault in igd.ask("take_all_back")] == [three.id]
    assert igd.ask("faults") == []


def test_faults_can_be_listed_while_others_are_put(igd: Process) -> None:
    def put() -> None:
        for _ in range(150):
            igd.ask("put_fault", {"text": "GetStatusInfo=501"})

    putting = threading.Thread(target=put)
    putting.start()
    while putting.is_alive():
        igd.ask("faults")
    [first, *_, last] = igd.ask("take_all_back")
    assert last.id - first.id == 149
    igd.ask("put_fault", {"text": "GetStatusInfo=501"})
    assert igd.ask("fault", number=last.id).id == last.id
    with pytest.raises(Refused, match="no fault"):
        igd.ask("fault", number=first.id)


def test_time_is_moved(igd: Process) -> None:
    map_port(igd)
    before = igd.ask("time").now_s
    assert igd.ask("advance", {"minutes": 30}).now_s - before >= 1800
    assert igd.ask("mappings")[0].left_s <= 1800
    igd.ask("advance", {"minutes": 20, "seconds": 600})
    assert igd.ask("mappings") == []


def test_the_wan_a_reboot_a_personality_and_a_reset(igd: Process) -> None:
    fresh = igd.state()
    map_port(igd)
    assert igd.ask("wan", {"external_address": "192.168.1.7"}).external_address == "192.168.1.7"
    down = igd.ask("wan", {"up": False})
    assert (down.wan_up, down.external_address) == (False, "192.168.1.7")
    kept = igd.ask("reboot", {"keep_mappings": True})
    assert (kept.mappings, kept.control_url) == (1, fresh.control_url)
    lost = igd.ask("reboot")
    assert (lost.mappings, lost.location) == (0, fresh.location)
    assert lost.control_url != fresh.control_url
    old = igd.ask("personality", {"names": ["v1-only"]})
    assert (old.personality, old.location_v2, old.location) == (["v1-only"], "", fresh.location_v1)
    assert "igd1" in old.control_url
    add_port_mapping(old.control_url, 8080)
    igd.ask("put_fault", {"text": "AddPortMapping=718"})
    emptied = igd.ask("reset")
    assert (emptied.requests, emptied.mappings, igd.ask("faults")) == (0, 1, [])
    new = igd.ask("reset", {"as_new": True})
    assert (new.mappings, new.personality, new.wan_up, new.external_address) == (0, [], True, "11.22.33.44")
    assert (new.location, new.pcp_port, new.search_port) == (fresh.location, fresh.pcp_port, fresh.search_port)


def test_events_and_subscribers(igd: Process) -> None:
    with subscriber(igd.state().control_url.replace("/control/", "/event/")) as next_event:
        next_event()
        [found] = igd.ask("subscribers", query="?service=WANIPConnection")
        assert (found.client, found.next_seq, igd.state().subscribers) == ("127.0.0.1", 1, 1)
        map_port(igd)
        next_event()
        [_, changed] = igd.ask("events", query="?client=127.0.0.1&count=2&wait_s=5")
    assert (changed.seq, changed.outcome) == (1, "delivered")
    assert changed.values["PortMappingNumberOfEntries"] == "1"


def test_announcements(igd: Process) -> None:
    igd.ask("reboot")
    [*_, last] = igd.ask("announcements", query="?nts=ssdp:byebye&nt=upnp:rootdevice&count=1&wait_s=5")
    assert last.data.startswith(b"NOTIFY * HTTP/1.1\r\n")


def test_the_catalogue_has_every_fault_and_personality(igd: Process) -> None:
    catalogue = igd.ask("catalogue")
    faults = {fault.name: fault for fault in catalogue.faults}
    assert "AddPortMapping" in faults["error"].actions
    assert [parameter.name for parameter in faults["error"].parameters] == ["code"]
    assert "v1-only" in {kind.name for kind in catalogue.personalities}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field", "message"),
    [
        ("GET", "/v1/nothing", None, 404, None, "accepted: /v1/announcements, /v1/answers, "),
        ("GET", "/", None, 404, None, "/v1/state"),
        ("DELETE", "/v1/time", None, 405, None, "DELETE is not for this path; accepted: GET"),
        ("GET", "/v1/faults/77777", None, 404, None, "no fault '77777'; GET /v1/faults lists"),
        ("GET", f"/v1/faults/{'7' * 5000}", None, 404, None, "no fault '77777777777777777777'; GET"),
        ("GET", "/v1/mappings?port=1", None, 400, "port", "unknown; accepted: external_port, "),
        ("GET", "/v1/mappings?external_port=0", None, 400, "external_port", "accepted: a port 1 to 65535"),
        ("GET", "/v1/requests?wait_s=61", None, 400, "wait_s", "accepted: seconds 0 to 60"),
        ("POST", "/v1/faults", "718", 400, None, "the body is 718; accepted: fields in braces"),
        ("POST", "/v1/faults", "{", 400, None, "the body is not JSON; accepted: fields in braces"),
        ("POST", "/v1/faults", "{}", 400, "text", "give text or name, one of them"),
        ("POST", "/v1/faults", '{"text": "AddPortMaping=1"}', 400, "text", "did you mean 'AddPortMapping'?"),
        ("POST", "/v1/faults", '{"name": "errors"}', 400, "name", "did you mean 'error'?"),
        (
            "POST",
            "/v1/faults",
            '{"name": "slow", "parameters": {"times": 1}}',
            400,
            "parameters",
            "times is a field",
        ),
        (
            "POST",
            "/v1/faults",
            '{"name": "slow", "parameters": {"x": 1}}',
            400,
            "name",
            "has no 'x'; accepted: seconds",
        ),
        ("POST", "/v1/faults", '{"name": "slow", "times": 0}', 400, "times", "accepted: a number 1 to"),
        ("POST", "/v1/answers", "{}", 400, "action", "missing; accepted: an action"),
        ("POST", "/v1/answers", '{"action": "GET"}', 400, "action", "give one of reply, error and values"),
        ("PUT", "/v1/personality", '{"names": ["v1only"]}', 400, "names", "did you mean 'v1-only'?"),
        ("POST", "/v1/time/advance", '{"hours": -1}', 400, "hours", "got -1; accepted: hours 0 to 8784, such as 1"),
        ("POST", "/v1/time/advance", '{"days": 1e300}', 400, "days", "accepted: days 0 to 366, such as 1"),
        ("POST", "/v1/time/advance", '{"weeks": 1}', 400, "weeks", "unknown; accepted: days, hours, "),
        ("POST", "/v1/wan", '{"external_address": "1.2.3"}', 400, "external_address", "accepted: an IPv4 address"),
        ("POST", "/v1/reset", '"' + "x" * 70_000 + '"', 413, None, "too long; accepted: 65536 bytes"),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(
    igd: Process, method: str, path: str, body: str | None, status: int, field: str | None, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        igd.raw(method, path, None if body is None else body.encode())
    assert (refused.value.status, refused.value.problem.field) == (status, field)
    assert message in refused.value.problem.message


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},
        {"Host": "attacker.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "[::1]:{port}"},
        {"Host": "localhost.attacker.example:{port}"},
        {"Host": ""},
        {"Origin": "http://attacker.example"},
        {"Origin": "http://127.0.0.1:{port}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Mode": "no-cors"},
    ],
    ids=str,
)
@pytest.mark.spec("SR-9")
def test_a_web_page_cannot_use_it(igd: Process, headers: dict[str, str]) -> None:
    """DNS rebinding has another Host, a request of a page has Origin or Sec-Fetch headers."""
    place = urlsplit(igd.first.control)
    sent = {name: value.format(port=place.port) for name, value in headers.items()}
    for method, path, body in (("GET", "/v1/state", None), ("POST", "/v1/faults", '{"text": "reset"}')):
        connection = http.client.HTTPConnection(place.netloc, timeout=5)
        connection.request(method, path, body, {"Content-Type": "text/plain", **sent})
        answer = connection.getresponse()
        problem = msgspec.json.decode(answer.read())
        connection.close()
        assert (answer.status, problem["error"]) == (403, "forbidden")
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert igd.ask("faults") == []


@pytest.fixture(scope="module")
def published() -> Iterator[Process]:
    """As in a container: the control API is on another address, and clients may know it by another one."""
    with emulating("--control-address", "127.0.0.3") as process:
        yield process


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.3:{port}"}, 200),
        ({"Host": "192.168.1.7:8080"}, 200),
        ({"Host": "[2001:db8::7]:8080"}, 200),
        ({"Host": "LOCALHOST:8080"}, 200),
        ({"Host": "igd-router:{port}"}, 200),
        ({"Host": "attacker.example:{port}"}, 403),
        ({"Host": "a.b"}, 403),
        ({"Host": "attacker.:{port}"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "igd-router:{port}", "Origin": "http://attacker.example"}, 403),
        ({"Host": "192.168.1.7:8080", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=str,
)
@pytest.mark.spec("SR-9")
def test_on_another_address_no_name_that_an_attacker_can_have_is_accepted(
    published: Process, headers: dict[str, str], status: int
) -> None:
    place = urlsplit(published.first.control)
    assert place.hostname == "127.0.0.3"
    connection = http.client.HTTPConnection(place.netloc, timeout=5)
    sent = {name: value.format(port=place.port) for name, value in headers.items()}
    connection.request("GET", "/v1/state", headers=sent)
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [("192.0.2.7", "not an address of this machine"), ("router", "accepted: an IPv4 address")],
)
def test_an_address_that_is_none_of_this_machine_is_named(address: str, message: str) -> None:
    done = subprocess.run([*COMMAND, "--control-address", address], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_preflight_of_a_browser_allows_nothing(igd: Process) -> None:
    place = urlsplit(igd.first.control)
    connection = http.client.HTTPConnection(place.netloc, timeout=5)
    headers = {"Origin": "http://attacker.example", "Access-Control-Request-Method": "PUT"}
    connection.request("OPTIONS", "/v1/personality", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_a_program_may_ask_by_each_name_of_the_loopback_and_nodes_fetch_too(igd: Process, name: str) -> None:
    port = urlsplit(igd.first.control).port
    connection = http.client.HTTPConnection("127.0.0.1", port or 0, timeout=5)
    connection.request("GET", "/v1/state", headers={"Host": f"{name}:{port}", "Sec-Fetch-Mode": "cors"})
    assert connection.getresponse().status == 200
    connection.close()


def test_a_body_that_is_not_what_its_head_says_is_a_mistake_of_the_client(igd: Process) -> None:
    with pytest.raises(Refused, match="the body is broken; accepted: JSON") as refused:
        igd.raw("POST", "/v1/reset", b"no gzip", {"Content-Encoding": "gzip"})
    assert refused.value.status == 400
