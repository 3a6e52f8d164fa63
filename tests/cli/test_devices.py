"""The commands of people and of the queue: what they send, what they print, how they end."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import NOW, FakeOperator, ServedOperator, mapping, served
from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.queue import format_question
from upnp_gw.model.mapping import MappingKind, Transport, Via
from upnp_gw.text.escape import width

TOML = '[[grant]]\nname = "allow-ps5"\nwho = "ps5"\n'
ADDED = mapping(7, via=Via.OPERATOR, vias=[Via.OPERATOR])
WRITTEN = api.Written(toml=TOML, file="/var/lib/upnp-gw/approved.toml", policy="0123456789ab")
INCIDENT = api.Incident(
    device="02:00:00:00:00:66",
    device_name="old-pc",
    began_at=NOW,
    ends_at=NOW + timedelta(days=1),
    ports=[22, 23],
    action="freeze",
)
QUESTION = api.Question(
    number=3,
    earlier=[2],
    device="02:00:00:00:00:23",
    device_name="ps5",
    address="192.168.1.23",
    via=Via.IGD1,
    family="ip4",
    transport=Transport.UDP,
    internal_client="192.168.1.23",
    internal_port=3074,
    external_ports=[3074, "40000-40010"],
    remote_hosts=[api.RemoteHost(host="198.51.100.7/32", port=443)],
    lease_s=3600,
    description="game",
    rule=None,
    first_asked=NOW,
    last_asked=NOW,
    times=2,
    decision="d7",
    toml=TOML,
)


class Answering(FakeOperator):
    """Every command of people is done, or answered with ``problem``."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.problem: api.Problem | None = None
        self.blocked = api.Blocked(**structs.asdict(WRITTEN), questions=1, left=[])
        self.questions = [QUESTION]

    def done(self, answer: object, *given: object) -> Any:
        self.calls.append(given)
        return self.problem or answer

    async def name(self, device: str, body: api.NameDevice) -> Any:
        return self.done(WRITTEN, "name", device, body)

    async def allow(self, device: str, body: api.Allow) -> Any:
        return self.done(WRITTEN, "allow", device, body)

    async def block(self, device: str, body: api.Block) -> Any:
        return self.done(self.blocked, "block", device, body)

    async def release(self, device: str, _: api.Preview) -> Any:
        released = api.Released(incidents=[INCIDENT], removed=TOML, closed=[mapping(1)])
        return self.done(released, "release", device)

    async def revoke(self, device: str) -> Any:
        return self.done(api.Revoked(mappings=[mapping(1), ADDED], questions=2), "revoke", device)

    async def retract(self, rule: str, _: api.Preview) -> Any:
        return self.done(structs.replace(WRITTEN, closed=[mapping(1)]), "retract", rule)

    async def approve(self, number: str, body: api.Approve) -> Any:
        opened = mapping(1) if body.for_s else None
        why_not = None if body.for_s else "the device is away"
        made = api.Approved(toml=TOML, file=WRITTEN.file, policy="x", opened=opened, why_not=why_not)
        return self.done(made, "approve", number, body)

    async def deny(self, number: str, body: api.Deny) -> Any:
        return self.done(WRITTEN if body.remember else WRITTEN_NOTHING, "deny", number, body)


WRITTEN_NOTHING = api.Written(toml="", file=WRITTEN.file, policy="x")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ServedOperator]:
    with served(tmp_path / "run", Answering()) as made:
        yield made


def answering(daemon: ServedOperator) -> Answering:
    assert isinstance(daemon.operator, Answering)
    return daemon.operator


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (("name", "192.168.1.23", "ps5"), ("name", "192.168.1.23", api.NameDevice(name="ps5"))),
        (("name", "fe80::1%lan/../x?y#z", "a"), ("name", "fe80::1%lan/../x?y#z", api.NameDevice(name="a"))),
        (("allow", "ps5"), ("allow", "ps5", api.Allow())),
        (
            ("allow", "ps5", "3074", "4000-4010", "--proto", "udp", "--for", "30d"),
            ("allow", "ps5", api.Allow(ports=["3074", "4000-4010"], transports=[Transport.UDP], for_s=2592000)),
        ),
        (("block", "ps5", "--for", "4h"), ("block", "ps5", api.Block(for_s=14400))),
        (("release", "ps5"), ("release", "ps5")),
        (("revoke", "--device", "ps5"), ("revoke", "ps5")),
        (("retract", "allow-ps5"), ("retract", "allow-ps5")),
        (("approve", "3", "--for", "30d"), ("approve", "3", api.Approve(for_s=2592000))),
        (("deny", "3"), ("deny", "3", api.Deny())),
        (("deny", "3", "--remember", "--for", "7d"), ("deny", "3", api.Deny(remember=True, for_s=604800))),
    ],
)
def test_each_command_sends_its_request_and_prints_the_answer(
    daemon: ServedOperator, upnp_gw: Run, words: tuple[str, ...], given: tuple[Any, ...]
) -> None:
    done = upnp_gw(*words)
    assert done.exit_code == 0, done.output
    assert answering(daemon).calls == [given]
    assert (TOML.strip() in done.output) == (words[0] not in ("revoke",) and words != ("deny", "3"))
    as_json = upnp_gw(*words, "--json")
    assert isinstance(json.loads(as_json.output), dict)


@pytest.mark.parametrize(
    "words",
    [("name", "a", "b"), ("allow", "a"), ("block", "a"), ("release", "a"), ("approve", "1"), ("deny", "1")],
)
def test_a_refused_command_prints_the_reason_and_ends_with_1(
    daemon: ServedOperator, upnp_gw: Run, words: tuple[str, ...]
) -> None:
    answering(daemon).problem = api.Problem(error="policy", message="nothing was changed: \x1b[2J test failed")
    done = upnp_gw(*words)
    assert done.exit_code == 1
    assert "test failed" in done.output
    assert "\x1b" not in done.output
    assert json.loads(upnp_gw(*words, "--json").output)["error"] == "policy"


@pytest.mark.parametrize(
    "words",
    [
        ("allow", "a", "0"),
        ("allow", "a", "5-4"),
        ("allow", "a", "x"),
        ("allow", "a", "--for", "soon"),
        ("approve", "x"),
        ("deny", "1", "--for", "4h"),
        ("revoke",),
        ("name", "a", "-b-"),
        ("block", "a", "--for", "5s"),
    ],
)
def test_wrong_use(daemon: ServedOperator, upnp_gw: Run, words: tuple[str, ...]) -> None:
    assert upnp_gw(*words).exit_code in (1, 2)
    assert answering(daemon).calls == []


M1 = "closed m1: tcp/51413 -> 192.168.1.23:51413"
M7 = "m7: tcp/51419 -> 192.168.1.23:51413"


def output_after_toml(output: str) -> list[str]:
    """The lines below the rule that a command wrote or took back."""
    lines = output.splitlines()
    return lines[max(at for at, line in enumerate(lines) if line.startswith("# ")) + 1 :]


def test_each_command_lists_closed_mappings(daemon: ServedOperator, upnp_gw: Run) -> None:
    assert upnp_gw("revoke", "--device", "ps5").output.splitlines() == [
        M1,
        f"closed {M7}",
        "2 mappings and 2 questions ended",
        "You had added these (upnp-gw add):",
        f"  {M7}",
    ]
    assert output_after_toml(upnp_gw("retract", "allow-ps5").output) == [M1]
    released = upnp_gw("release", "ps5").output
    assert "# removed: the device may ask again" in released
    assert output_after_toml(released) == [M1]
    assert output_after_toml(upnp_gw("block", "ps5").output) == ["0 mappings and 1 question ended"]
    (one,) = json.loads(upnp_gw("retract", "allow-ps5", "--json").output)["closed"]
    assert [one[key] for key in ("id", "transport", "external_port", "internal_client", "internal_port")] == [
        *("m1", "tcp", 51413, "192.168.1.23", 51413)
    ]


def test_block_lists_mappings_of_the_operator_and_the_command_that_closes_them(
    daemon: ServedOperator, upnp_gw: Run
) -> None:
    blocked = structs.replace(answering(daemon).blocked, closed=[mapping(1)], left=[ADDED])
    answering(daemon).blocked = blocked
    assert output_after_toml(upnp_gw("block", "ps5").output) == [
        M1,
        "1 mapping and 1 question ended",
        "Still open, because you added it (upnp-gw add):",
        f"  {M7}",
        "To close it:",
        "  upnp-gw delete m7",
    ]
    assert [one["id"] for one in json.loads(upnp_gw("block", "ps5", "--json").output)["left"]] == ["m7"]
    six = "2001:db8:1234:5678:9abc:def0:1234:5678"
    many = [
        mapping(100000 + at, external_port=51413, internal_client=six, kind=MappingKind.PINHOLE) for at in range(9)
    ]
    answering(daemon).blocked = structs.replace(blocked, closed=many, left=many)
    lines = output_after_toml(upnp_gw("block", "ps5").output)
    assert max(map(len, lines)) <= 80
    assert lines[-3:] == [
        "To close them:",
        "  upnp-gw delete m100000 m100001 m100002 m100003 m100004 m100005",
        "  upnp-gw delete m100006 m100007 m100008",
    ]


def test_the_queue_shows_the_rule_of_an_approval(daemon: ServedOperator, upnp_gw: Run) -> None:
    output = upnp_gw("queue").output
    assert output.splitlines()[:4] == [
        '3: ps5 at 192.168.1.23 asks for udp 3074,40000-40010 -> 192.168.1.23:3074 "game"',
        "   from 198.51.100.7/32 port 443, lease up to 1h",
        "   the request has changed: it was question 2",
        f"   2 times over igd1, last {formats.time(NOW)}, decision d7",
    ]
    assert '   | name = "allow-ps5"\n' in output
    assert json.loads(upnp_gw("queue", "--json").output)[0]["number"] == 3
    answering(daemon).questions = []
    assert upnp_gw("queue").output == "no questions\n"


def test_approve_prints_whether_the_port_is_open(daemon: ServedOperator, upnp_gw: Run) -> None:
    assert "m1: tcp/51413 -> 192.168.1.23:51413 is open" in upnp_gw("approve", "3", "--for", "1d").output
    assert "not open yet: the device is away" in upnp_gw("approve", "3").output


@pytest.mark.spec("SR-21")
def test_no_client_text_acts_on_the_terminal() -> None:
    evil = "\x1b[2J\r\n\u202e3: approve me"
    from msgspec.structs import replace

    lines = format_question(replace(QUESTION, description=evil, device_name=evil, rule=evil, decision=evil), 80)
    assert [line[:2] for line in lines if not line.startswith("   ")] == ["3:"], "one question, not two"
    assert all(line.isprintable() and width(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("count", "line"), [(1, "1 question waits: upnp-gw queue"), (2, "2 questions wait: upnp-gw queue")]
)
def test_waiting_questions_are_shown_by_list_and_devices(
    daemon: ServedOperator, upnp_gw: Run, count: int, line: str
) -> None:
    answering(daemon).questions = [QUESTION] * count
    for command in ("list", "devices"):
        assert upnp_gw(command).output.splitlines()[0] == line
        assert isinstance(json.loads(upnp_gw(command, "--json").output), list)
    answering(daemon).questions = []
    assert "question" not in upnp_gw("list").output


def test_watch_shows_a_question_as_soon_as_it_waits(daemon: ServedOperator, upnp_gw: Run) -> None:
    operator = answering(daemon)
    operator.questions = []
    requests = 0

    async def mappings() -> list[api.Mapping]:
        nonlocal requests
        requests += 1
        if requests == 1:
            operator.publish(api.Event(event="question", at=NOW, why="question 3; 1 question waits: upnp-gw queue"))
        else:
            operator.questions = [QUESTION]
            operator.publish(None)
        return []

    operator.mappings = mappings  # type: ignore[method-assign]
    assert upnp_gw("list", "--watch").stdout.splitlines() == [
        "no mappings",
        "1 question waits: upnp-gw queue",
        "no mappings",
    ]


@pytest.mark.parametrize("command", ["list", "devices"])
def test_an_open_incident_is_a_banner(daemon: ServedOperator, upnp_gw: Run, command: str) -> None:
    answering(daemon).open_incidents, answering(daemon).questions = [INCIDENT], []
    first, second = upnp_gw(command).output.splitlines()[:2]
    assert first.startswith("INCIDENT: old-pc (02:00:00:00:00:66) is frozen until ")
    assert f"{first} {second.strip()}".endswith("2 ports were refused (upnp-gw release 02:00:00:00:00:66)")
    assert "(upnp-gw release 02:00:00:00:00:66)" in second, "a command is not broken"
    assert isinstance(json.loads(upnp_gw(command, "--json").output), list)
