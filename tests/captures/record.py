"""Runs real clients of npm against the daemon in a lab and prints what they sent, as lines of ``captures.jsonl``.

    python -m tests.captures.record DIRECTORY [SCRIPT ...]

DIRECTORY has the packages: ``npm install --prefix DIRECTORY @achingbrain/nat-port-mapper@4.0.5
@silentbot1/nat-api@0.4.9``. Each script of ``tests/captures/node`` maps its ports, prints ``mapped``, waits for a
line and ends them. If it opens too few ports or leaves one open, standard error says so, and the exit code is 1.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT
from tests.fixtures.fake_gateway import TOKEN
from tests.lab.end_to_end import ROUTER, served_home
from tests.lab.packets import TCP, UDP, Packet, captured
from upnp_gw.lab import acquire

SCRIPTS = ROOT / "tests" / "captures" / "node"
PACKAGES = {"nat_port_mapper.mjs": "@achingbrain/nat-port-mapper", "nat_api.mjs": "@silentbot1/nat-api"}
HTTP, SSDP = 5000, 1900
SECRET = re.compile(rb"/[0-9a-f]{16}/control/")
"""The random part of a control URL: the tests have one of their own."""


def requests(packets: list[Packet]) -> Iterator[tuple[str, bytes]]:
    """(kind, bytes) of each search and each HTTP request that came in on the LAN."""
    streams: dict[tuple[str, int], dict[int, bytes]] = {}
    for packet in packets:
        if packet.outgoing or packet.interface != "lan0":
            continue
        if packet.protocol == UDP and packet.ports[1] == SSDP:
            yield "ssdp", packet.payload[8:]
        elif packet.protocol == TCP and packet.ports[1] == HTTP:
            data = packet.payload[(packet.payload[12] >> 4) * 4 :]
            if data:
                stream = streams.setdefault((str(packet.source), packet.ports[0]), {})
                stream[int.from_bytes(packet.payload[4:8])] = data
    for stream in streams.values():
        rest = b"".join(data for _, data in sorted(stream.items()))
        while b"\r\n\r\n" in rest:
            head, _, after = rest.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            size = int(length[1]) if length else 0
            yield "http", SECRET.sub(f"/{TOKEN}/control/".encode(), head) + b"\r\n\r\n" + after[:size]
            rest = after[size:]


def run(script: str, modules: Path) -> Iterator[tuple[str, bytes]]:
    """Yields one client's requests. Raises AssertionError if it opened nothing, or left something open."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, script)
        shutil.copy(SCRIPTS / script, place)
        place.with_name("node_modules").symlink_to(modules)
        with served_home(Path(directory), *ROUTER) as home, captured(home.gateway) as seen:
            process = home.console.popen(["node", place], stdin=-1)
            assert process.stdout is not None
            rows = []
            for line in process.stdout:
                rows.append(line)
                if line == "mapped\n":
                    break
            opened = [(row["transport"], row["external_port"]) for row in home.rows()]
            print(f"{script}: opened {opened}", file=sys.stderr)
            assert {transport for transport, _ in opened} == {"tcp", "udp"}, "".join(rows)
            rows.append(process.communicate("\n", timeout=60)[0])
            assert home.rows() == [], f"left open: {home.rows()}\n{''.join(rows)}"
    yield from requests(seen.packets)


def main() -> None:
    acquire()
    modules = Path(sys.argv[1]).resolve() / "node_modules"
    for script in sys.argv[2:] or sorted(PACKAGES):
        package = modules / PACKAGES[script]
        version = json.loads((package / "package.json").read_text("utf-8"))["version"]
        client = f"{PACKAGES[script].rpartition('/')[2]} {version}"
        known: set[bytes] = set()
        for kind, data in run(script, modules):
            same = re.sub(rb"[0-9]+", b"0", data)
            if same in known:
                continue
            known.add(same)
            igd_version = "igd1" if b"igd1" in data or b"Device:1" in data else "igd2"
            row = {"client": client, "kind": kind, "face": igd_version, "bytes": data.decode("latin-1")}
            print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
