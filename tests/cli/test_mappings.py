"""``list``, ``show``, ``add``, ``delete``."""

import json
from datetime import timedelta
from typing import Literal

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import NOW, ServedOperator, mapping
from upnp_gw import api
from upnp_gw.cli.mapping_table import mapping_table
from upnp_gw.cli.mappings import format_details
from upnp_gw.model.mapping import DecisionId, MappingKind, Transport, Via
from upnp_gw.model.request import Refusal, Refused
from upnp_gw.text.escape import width

PINHOLE = mapping(
    3,
    kind=MappingKind.PINHOLE,
    external_address="2001:db8:20:30:1234:5678:9abc:def0",
    external_port=443,
    internal_client="2001:db8:20:30:1234:5678:9abc:def0",
    internal_port=443,
    via=Via.PCP,
    device_name="nas",
    description="photos",
    last_used=None,
    connections=0,
    lease_left_s=2_591_999,
)
CONSOLE = mapping(
    2,
    transport=Transport.UDP,
    external_port=3074,
    internal_port=3074,
    device_name="ps5",
    description="Call of Duty",
    state="parked",
    connections=0,
    last_used=None,
)
OPERATORS = mapping(
    4, external_port=8080, internal_port=80, remote_host="203.0.113.0/24", via=Via.OPERATOR, device="operator",
    lease_left_s=None, expires_at=None, description="", rule="operator", connections=1_234_567,
)  # fmt: skip
ALL = [mapping(1), CONSOLE, PINHOLE, OPERATORS]

GOLDEN_80 = """\
ID  EXTERNAL   INTERNAL            DEVICE             STATE     LEFT  CONNS
m1  tcp/51413  192.168.1.23:51413  00:11:32:00:00:02           3h59m     12
m2  udp/3074   192.168.1.23:3074   ps5                parked   3h59m      0
m3  tcp6/443                       nas                        29d23h      0
    internal [2001:db8:20:30:1234:5678:9abc:def0]:443
m4  tcp/8080   192.168.1.23:80     operator                   always   1.2M
    from 203.0.113.0/24
"""


def test_the_table_fits_80_columns() -> None:
    drawn = mapping_table(ALL, NOW, 80)
    assert "\n".join(drawn) + "\n" == GOLDEN_80
    assert max(map(width, drawn)) <= 80


GOLDEN_SIMPLE = """\
ID  EXTERNAL   INTERNAL            DEVICE              LEFT  CONNS  DESCRIPTION
m1  tcp/51413  192.168.1.23:51413  00:11:32:00:00:02  3h59m     12  Transmission
"""


def test_a_simple_table_has_room_for_more() -> None:
    assert "\n".join(mapping_table([mapping(1)], NOW, 80)) + "\n" == GOLDEN_SIMPLE


def test_a_wide_terminal_shows_every_column() -> None:
    drawn = mapping_table(ALL, NOW, 220)
    for title in ("ID", "FROM", "VIA", "STATE", "BYTES", "USED", "RULE", "DESCRIPTION"):
        assert title in drawn[0].split()
    assert "00:11:32:00:00:02" in drawn[1]
    assert "3m5s" in drawn[1]
    assert "[2001:db8:20:30:1234:5678:9abc:def0]:443" in drawn[3]


@pytest.mark.parametrize("most", range(60, 200, 7))
def test_it_fits_every_width(most: int) -> None:
    drawn = mapping_table(ALL, NOW, most)
    assert [line.split()[0] for line in drawn if not line.startswith(" ")] == ["ID", "m1", "m2", "m3", "m4"]
    assert max(map(width, drawn)) <= most
    for whole in ("00:11:32:00:00:02", "[2001:db8:20:30:1234:5678:9abc:def0]:443", "203.0.113.0/24", "parked"):
        assert whole in "\n".join(drawn).split()


def test_off_a_terminal_every_row_is_a_line_with_every_column(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.held = [CONSOLE, mapping(1, description="two words")]
    title, *rows = upnp_gw("list", env={"COLUMNS": None}).output.splitlines()
    names = title.split()
    assert len(names) == 13
    assert dict(zip(names, rows[0].split(), strict=False))["FROM"] == "-"
    assert rows[1].split()[12:] == ["two", "words"]


HOSTILE = [
    "\x1b]0;owned\x07\x1b[2J\x1b[31m",
    "x\r\nm9  tcp/22     192.168.1.1:22",
    "\u202etxet desrever\u202c",
    "\x9b2J",
    "日本" * 100,
    "e" + "\u0301" * 200,
]


@pytest.mark.spec("SR-21")
@pytest.mark.parametrize("description", HOSTILE)
def test_no_client_text_acts_on_the_terminal(daemon: ServedOperator, upnp_gw: Run, description: str) -> None:
    daemon.operator.held = [mapping(1, description=description, device_name=description, rule="home")]
    for arguments in (["list"], ["show", "m1"], ["delete", "m1"]):
        answer = upnp_gw(*arguments, env={"COLUMNS": "200"})
        assert answer.exit_code == 0
        for line in answer.output.split("\n"):
            assert line.isprintable(), line
            assert "m9" not in line[:4]
        assert len(answer.output.splitlines()) == {"list": 2, "show": 14, "delete": 1}[arguments[0]]


@pytest.mark.spec("SR-21")
@pytest.mark.parametrize("description", HOSTILE)
def test_json_is_whole_and_cannot_act_either(daemon: ServedOperator, upnp_gw: Run, description: str) -> None:
    daemon.operator.held = [mapping(1, description=description)]
    answer = upnp_gw("list", "--json")
    assert json.loads(answer.output)[0]["description"] == description
    assert answer.output.isascii()
    assert all(line.isprintable() for line in answer.output.split("\n"))


def test_list_json_is_the_answer_of_the_api(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.held = ALL
    answer = upnp_gw("list", "--json")
    assert json.loads(answer.output) == json.loads(api.encode(ALL))
    assert json.loads(upnp_gw("show", "udp/3074", "--json").output)["id"] == "m2"


def test_nothing_is_mapped(daemon: ServedOperator, upnp_gw: Run) -> None:
    assert upnp_gw("list").output == "no mappings\n"
    assert upnp_gw("list", "--json").output == "[]\n"


def test_watch_draws_at_each_change_and_ends_with_the_daemon(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.held = [mapping(1)]
    requests = 0
    answer_all = daemon.operator.mappings

    async def mappings() -> list[api.Mapping]:
        nonlocal requests
        requests += 1
        if requests == 1:  # the watcher has subscribed before it asks
            daemon.operator.publish(api.Event(event="wan", at=NOW))
        else:
            daemon.operator.publish(None)
        return await answer_all()

    daemon.operator.mappings = mappings  # type: ignore[method-assign]
    answer = upnp_gw("list", "--watch", "--json")
    assert answer.exit_code == 0
    assert [json.loads(line)[0]["id"] for line in answer.stdout.splitlines()] == ["m1", "m1"]
    assert answer.stderr == "upnp-gw stopped\n"


def test_show_prints_every_field() -> None:
    result = "\n".join(format_details(OPERATORS, NOW, 80))
    for fact in (
        "port-mapping",
        "198.51.100.7:8080",
        "192.168.1.23:80",
        "203.0.113.0/24",
        "never (permanent)",
        "d4",
    ):
        assert fact in result
    assert "3m5s ago" in result
    assert "2592000" not in result
    assert "29d23h" in "\n".join(format_details(PINHOLE, NOW + timedelta(days=1), 80))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["tcp", "8080", "192.168.1.23:80", "--ttl", "4h"],
            {"external_port": 8080, "internal_port": 80, "lease_s": 14400},
        ),
        (["UDP", "9", "192.168.1.23"], {"transport": "udp", "internal_port": None, "lease_s": None}),
        (["tcp", "443", "[2001:db8::1]:443", "--permanent"], {"internal_client": "2001:db8::1", "permanent": True}),
        (["tcp", "443", "2001:db8::1"], {"internal_client": "2001:db8::1", "internal_port": None}),
        (
            [
                "tcp",
                "1",
                "10.0.0.1",
                "--remote",
                "203.0.113.0/24",
                "--description",
                "ö",
                "--external-address",
                "9.9.9.9",
            ],
            {"remote_host": "203.0.113.0/24", "description": "ö", "external_address": "9.9.9.9"},
        ),
    ],
)
def test_add_sends_the_typed_values(
    daemon: ServedOperator, upnp_gw: Run, arguments: list[str], expected: dict[str, object]
) -> None:
    answer = upnp_gw("add", *arguments)
    assert answer.exit_code == 0, answer.output
    (request,) = daemon.operator.asked
    assert {key: getattr(request, key) for key in expected} == expected
    assert answer.output.startswith("m1: ")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("active", ""),
        ("parked", "It is not open yet: nobody answers at the internal address. It opens when one host answers.\n"),
        (
            "contested",
            "It is not open yet: two hosts claim the internal address. It opens when one host answers.\n",
        ),
    ],
)
def test_add_says_where_it_is_not_open_yet(
    daemon: ServedOperator, upnp_gw: Run, state: Literal["active", "parked", "contested"], reason: str
) -> None:
    daemon.operator.makes = state
    answer = upnp_gw("add", "tcp", "80", "10.0.0.1")
    assert (answer.exit_code, answer.stderr) == (0, reason)
    assert answer.stdout == "m1: tcp/80 -> 10.0.0.1:80, for 1d\n"


def test_add_warns_of_an_invariant_that_it_crosses(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.crosses = ['crosses never "guests open nothing" (/etc/upnp-gw/policy.toml:12)']
    answer = upnp_gw("add", "tcp", "80", "10.0.0.1", env={"COLUMNS": "200"})
    assert answer.exit_code == 0
    assert answer.stdout == "m1: tcp/80 -> 10.0.0.1:80, for 1d\n"
    assert answer.stderr == f"warning: it {daemon.operator.crosses[0]}\n"
    assert (
        json.loads(upnp_gw("add", "tcp", "81", "10.0.0.1", "--json").stdout)["crosses"] == daemon.operator.crosses
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["sctp", "80", "10.0.0.1"],
        ["tcp", "0", "10.0.0.1"],
        ["tcp", "65536", "10.0.0.1"],
        ["tcp", "80", "nas.lan"],
        ["tcp", "80", "10.0.0.1:http"],
        ["tcp", "80", "10.0.0.1:٨٠"],
        ["tcp", "80", "10.0.0.1", "--ttl", "soon"],
        ["tcp", "80", "10.0.0.1", "--ttl", "4h", "--permanent"],
        ["tcp", "80"],
        ["tcp", "80", "10.0.0.1", "--ttl", "0"],
        ["tcp", "80", "10.0.0.1", "--ttl", "367d"],
    ],
)
def test_add_wrongly_used(daemon: ServedOperator, upnp_gw: Run, arguments: list[str]) -> None:
    answer = upnp_gw("add", *arguments)
    assert answer.exit_code == 2
    assert daemon.operator.asked == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["10.0.0.1:0"], "ADDRESS:PORT: got 0; accepted: a port"),
        (["10.0.0.1", "--remote", "everyone"], '--remote: got "everyone"; accepted: an'),
        (["10.0.0.1", "--external-address", "x"], '--external-address: got "x"; accepted: an'),
    ],
)
def test_a_value_that_the_api_refuses_is_named_by_its_option(
    daemon: ServedOperator, upnp_gw: Run, arguments: list[str], message: str
) -> None:
    answer = upnp_gw("add", "tcp", "80", *arguments)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert message in answer.stderr


def test_a_refusal_is_printed_with_its_decision(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.refuse = Refused(Refusal.CONFLICT, "the port is another device's", DecisionId("d12"))
    answer = upnp_gw("add", "tcp", "80", "10.0.0.1")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: the port is another device's (decision d12)\n"
    answer = upnp_gw("add", "tcp", "80", "10.0.0.1", "--json")
    assert json.loads(answer.stderr)["error"] == "conflict"


def test_delete_by_id_and_by_port(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.held = list(ALL)
    answer = upnp_gw("delete", "m2", "tcp6/443")
    assert answer.exit_code == 0
    assert answer.output == (
        "closed m2: udp/3074 -> 192.168.1.23:3074\n"
        "closed m3: tcp6/443 -> [2001:db8:20:30:1234:5678:9abc:def0]:443\n"
    )
    assert [m.id for m in daemon.operator.held] == ["m1", "m4"]


def test_a_pinhole_over_ipv4_is_found_by_its_address(daemon: ServedOperator, upnp_gw: Run) -> None:
    """Two hosts of a LAN without NAT have the same external port."""
    daemon.operator.held = [
        mapping(
            number,
            kind=MappingKind.PINHOLE,
            external_address=host,
            external_port=443,
            internal_client=host,
            internal_port=443,
        )
        for number, host in ((1, "203.0.113.10"), (2, "203.0.113.11"))
    ]
    assert "tcp/443 is mapped by m1 and m2" in upnp_gw("delete", "tcp/443").stderr
    answer = upnp_gw("delete", "tcp/203.0.113.11:443")
    assert answer.output == "closed m2: tcp/443 -> 203.0.113.11:443\n"
    assert [m.id for m in daemon.operator.held] == ["m1"]


def test_delete_goes_on_after_one_that_is_not_there(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.held = [mapping(1)]
    answer = upnp_gw("delete", "tcp/1", "m1")
    assert answer.exit_code == 1
    assert "tcp/1 is not mapped" in answer.stderr
    assert daemon.operator.held == []


def test_delete_of_an_ambiguous_port_names_the_ids(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.held = [mapping(1, external_port=80), mapping(2, external_port=80, remote_host="203.0.113.1")]
    answer = upnp_gw("delete", "tcp/80")
    assert answer.exit_code == 1
    assert "tcp/80 is mapped by m1 and m2" in answer.stderr
    assert len(daemon.operator.held) == 2


@pytest.mark.parametrize("target", ["m7", "tcp/7", "../status", "m1?x=1", "m1\r\nX: y", "ü"])
def test_show_an_unknown_mapping(daemon: ServedOperator, upnp_gw: Run, target: str) -> None:
    daemon.operator.held = [mapping(1)]
    answer = upnp_gw("show", target)
    assert (answer.exit_code, answer.stdout) == (1, "")


def test_add_names_the_mapping_in_the_way(
    daemon: ServedOperator, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = api.Holder(
        mapping="m3",
        device="00:11:32:00:00:02",
        device_name="nas",
        internal_client="192.168.1.23",
        internal_port=8000,
        description="web",
    )
    taken = "the external port is mapped to another device"
    problem = api.Problem(error="conflict", message=taken, decision="d9", holder=holder)

    async def add(request: api.AddMapping) -> api.Problem:
        return problem

    monkeypatch.setattr(daemon.operator, "add", add)
    answer = upnp_gw("add", "tcp", "8080", "192.168.1.42")
    assert answer.exit_code == 1
    assert answer.stderr == (
        f'Error: {taken}. In the way: m3 -> 192.168.1.23:8000 of nas, "web".'
        " To close it: upnp-gw delete m3 (decision d9)\n"
    )
    as_json = json.loads(upnp_gw("add", "tcp", "8080", "192.168.1.42", "--json").stderr)
    assert (as_json["error"], as_json["holder"]["mapping"]) == ("conflict", "m3")


def above(**changes: object) -> api.Above:
    values: dict[str, object] = {
        "state": "granted",
        "gateway": "192.168.1.1",
        "via": Via.PCP,
        "own_address": "192.168.1.44",
        "own_port": 8080,
        "left_s": 1700,
    }
    return api.Above(**{**values, **changes})  # type: ignore[arg-type]


BELOW = mapping(5, external_port=40_000, internal_port=80, device_name="nas", above=above())
LOST = mapping(
    6,
    state="parked",
    above=above(state="lost", left_s=None, problem="the gateway above at 192.168.1.1 does not answer"),
)


@pytest.mark.parametrize("most", [80, 100, 220])
def test_both_hops_are_in_the_list(most: int) -> None:
    drawn = mapping_table([mapping(1), BELOW, LOST], NOW, most)
    assert max(map(width, drawn)) <= most
    assert "HERE" in drawn[0]
    line = next(line for line in drawn if line.startswith("m5"))
    for part in ("tcp/40000", "192.168.1.44:8080", "192.168.1.23:80"):
        assert part in line
    assert "parked" in "\n".join(drawn)
    assert "HERE" not in mapping_table(ALL, NOW, most)[0]


def test_show_says_who_granted_it_above_or_why_nobody_does() -> None:
    result = "\n".join(format_details(BELOW, NOW, 80))
    assert "192.168.1.1: granted over pcp, 28m20s left" in result
    assert "192.168.1.44:8080" in result
    assert "does not answer" in "\n".join(format_details(LOST, NOW, 80))
    asked = replace(BELOW, state="waiting", above=above(state="waiting", gateway=None, via=None, left_s=None))
    assert "the gateway above: asked" in "\n".join(format_details(asked, NOW, 80))
