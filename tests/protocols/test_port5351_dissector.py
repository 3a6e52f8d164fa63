"""Our messages, read by an independent dissector, tshark: none is malformed, and the values are those we meant."""

import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures import port5351_vectors as vectors
from tests.fixtures.gateway import CONSOLE, gateway_fixture
from tests.fixtures.port5351 import CONSOLE_IP6, UDP, Line
from upnp_gw.model.network import Neighbour
from upnp_gw.protocols.natpmp.codec import MappingRequest, build_request
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import (
    ANY_IPV4,
    ANY_IPV6,
    Description,
    MapData,
    Option,
    PcpFilter,
    PreferFailure,
    Request,
    ThirdParty,
)

pytestmark = pytest.mark.skipif(
    not (shutil.which("tshark") and shutil.which("text2pcap")), reason="needs tshark and text2pcap"
)

FILTERS = (PcpFilter(120, 0, ip_address("198.51.100.0")), PcpFilter(128, 5000, ip_address("203.0.113.7")))


def pcp(internal: int, *options: Option, client: str = "192.168.77.10", lifetime: int = 600) -> bytes:
    own = ip_address(client)
    data = MapData(vectors.NONCE, 6, internal, internal, ANY_IPV4 if own.version == 4 else ANY_IPV6)
    return codec.build_request(Request(lifetime, own, data, options))


REQUESTS: list[tuple[str, bytes]] = [
    ("192.168.77.10", b"\0\0"),
    ("192.168.77.10", build_request(MappingRequest(UDP, 5000, 5000, 600))),
    ("192.168.77.10", build_request(MappingRequest(UDP, 22, 22, 600))),
    ("192.168.77.10", build_request(MappingRequest(UDP, 5000, 0, 0))),
    ("192.168.77.10", codec.build_request(Request(0, ip_address("192.168.77.10")))),
    ("192.168.77.10", pcp(8080)),
    ("192.168.77.10", pcp(8081, *FILTERS)),
    ("192.168.77.10", pcp(8082, PreferFailure(), Description("camera"))),
    ("192.168.77.10", pcp(22)),
    ("192.168.77.10", pcp(8083, ThirdParty(ip_address("192.168.77.20")))),
    ("192.168.77.10", pcp(8080, lifetime=0)),
    ("192.168.77.10", b"\3\1" + bytes(58)),
    (CONSOLE_IP6, pcp(8084, client=CONSOLE_IP6)),
]


def tshark(directory: Path, messages: list[bytes], port: str, *options: str) -> list[str]:
    """One line a message, of a capture made of their bytes."""
    dump = "".join(f"0000 {' '.join(f'{byte:02x}' for byte in one)}\n\n" for one in messages)
    capture = directory / "said.pcap"
    subprocess.run(
        ["text2pcap", "-q", "-4", "192.168.77.1,192.168.77.10", "-u", port, "-", str(capture)],
        input=dump.encode(),
        check=True,
        capture_output=True,
    )
    output = subprocess.run(
        ["tshark", "-r", str(capture), *options], check=True, capture_output=True, env={"HOME": str(directory)}
    )
    return output.stdout.decode().splitlines()


async def answers_of(directory: Path) -> list[bytes]:
    async with gateway_fixture(directory) as fixture:
        fixture.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP6), CONSOLE, "lan0"))
        line = Line(fixture)
        answers = [await line.answer(request, client) for client, request in REQUESTS]
        announced = line.dialogue.announcements(4, vectors.EXTERNAL, 7)
        return [*answers, *announced]


@pytest.mark.spec("PMP-001", "PMP-006", "PCP-001", "PCP-007", "PCP-111")
async def test_nothing_we_answer_is_malformed(tmp_path: Path) -> None:
    answers = await answers_of(tmp_path)
    fields = ("-T", "fields", "-e", "frame.protocols", "-e", "_ws.malformed", "-e", "_ws.expert.message")
    rows = [row.split("\t") for row in tshark(tmp_path, answers, "5351,40000", *fields)]
    assert len(rows) == len(answers)
    for answer, row in zip(answers, rows, strict=True):
        protocols, malformed, expert = (*row, "", "")[:3]
        assert protocols.endswith(":portcontrol"), answer.hex()
        assert (malformed, expert) == ("", ""), answer.hex()


@pytest.mark.spec("PMP-006", "PCP-007")
async def test_the_dissector_reads_our_answers_correctly(tmp_path: Path) -> None:
    answers = await answers_of(tmp_path)
    text = "\n".join(tshark(tmp_path, answers, "5351,40000", "-V"))
    for words in (
        "External IP Address: 11.22.33.44",
        "Mapped External Port: 5000",
        "Port Mapping Lifetime: 600",
        "Result Code: Not Authorized/Refused (2)",
        "Assigned External Port: 8081",
        "Remote Peer IP Address: ::ffff:203.0.113.7",
        "Description: camera",
        "Result Code: Unsupported option (5)",
        "Result Code: Unsupported Version (1)",
        "Assigned External IP Address: 2001:db8:77::10",
    ):
        assert words in text, words


async def test_requests_of_our_client_side_are_not_malformed(tmp_path: Path) -> None:
    request = [data for _, data in REQUESTS if data[0] != 3]
    rows = tshark(tmp_path, request, "40000,5351", "-T", "fields", "-e", "_ws.malformed")
    assert [row.strip() for row in rows] == [""] * len(request)
