"""The page beside the daemon: the first page with many mappings, and a client while ten pages are open.

    python -m upnp_gw.lab.enter python -m tests.bench.bench_page [--mappings 1000] [--rounds 8] [--requests 60]

A real daemon with the memory backend and a real page, on the loopback. The client renews mappings over UPnP. Rounds
with ten open pages and with none take turns, and the ratio is that of the same round. The limits are 150 ms and
60 kB for the first page.
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import aiohttp

from tests.bench.samples import Samples, paired

PAGES = 10
PATHS = ("/", "/mappings", "/log", "/devices")
FIRST_MS, FIRST_BYTES = 150.0, 60_000
FIRST_PORT = 20_000
BETWEEN_S = 0.02
"""Between two requests of the client, so that it stays below the limit of a host."""
IGD, LISTEN = 5990, "127.0.0.1:5991"
TYPE = "urn:schemas-upnp-org:service:WANIPConnection:1"
POLICY = """
version = 1
default = "deny"
[limits]
requests_per_minute = 6000
per_device = 4000
total_mappings = 4096
[[grant]]
name = "all"
who = "*"
max_mappings = 4000
owner = "the benchmark"
reason = "it opens many ports"
review_by = 2099-01-01
"""
BODY = f"""<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
 s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:AddPortMapping xmlns:u="{TYPE}">
<NewRemoteHost></NewRemoteHost><NewExternalPort>%d</NewExternalPort><NewProtocol>TCP</NewProtocol>
<NewInternalPort>%d</NewInternalPort><NewInternalClient>127.0.0.1</NewInternalClient><NewEnabled>1</NewEnabled>
<NewPortMappingDescription>bench</NewPortMappingDescription><NewLeaseDuration>3600</NewLeaseDuration>
</u:AddPortMapping></s:Body></s:Envelope>"""


@contextmanager
def running(*arguments: str) -> Iterator[None]:
    """The command of upnp-gw, from its first line until the end of the block."""
    argv = [sys.executable, "-m", "upnp_gw", *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"upnp-gw {arguments[0]} does not start")
            yield
        finally:
            process.terminate()


@contextmanager
def daemon_and_page(directory: Path) -> Iterator[None]:
    (directory / "policy.toml").write_text(POLICY)
    (directory / "page.toml").write_text(f'[page]\nlisten = "{LISTEN}"\nport = 5992\n')
    run = [*("run", "--backend", "memory", "--lan", "lo", "--http-port", str(IGD), "--log-level", "error")]
    run += ["--policy", str(directory / "policy.toml"), "--state-dir", str(directory / "s")]
    page = ["page", "--config", str(directory / "page.toml"), "--page-dir", str(directory / "p")]
    with (
        running(*run, "--runtime-dir", str(directory / "r")),
        running(*page, "--runtime-dir", str(directory / "r")),
    ):
        yield


class Client:
    """A control point that adds port mappings, and renews them."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def add(self, port: int) -> float:
        """Milliseconds until the answer."""
        headers = {"SOAPACTION": f'"{TYPE}#AddPortMapping"', "Content-Type": "text/xml"}
        began = time.perf_counter()
        async with self._session.post(self._url, data=BODY % (port, port), headers=headers) as answer:
            text = await answer.text()
            if answer.status != 200:
                raise RuntimeError(f"AddPortMapping: {answer.status} {text}")
        return (time.perf_counter() - began) * 1000

    async def renewals(self, mappings: int, count: int) -> list[float]:
        taken = []
        for number in range(count):
            taken.append(await self.add(FIRST_PORT + number % mappings))
            await asyncio.sleep(BETWEEN_S)
        return taken


@asynccontextmanager
async def open_pages(operator: aiohttp.ClientSession, count: int) -> AsyncIterator[None]:
    """So many pages are open: each reads its stream."""

    async def read(answer: aiohttp.ClientResponse) -> None:
        async for _ in answer.content:
            pass

    async with AsyncExitStack() as stack:
        answers = [
            await stack.enter_async_context(operator.get(f"http://{LISTEN}/live{PATHS[n % len(PATHS)]}"))
            for n in range(count)
        ]
        for answer in answers:
            await answer.content.readline()
        tasks = [asyncio.create_task(read(answer)) for answer in answers]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def first_page(operator: aiohttp.ClientSession, loads: int) -> tuple[list[float], int]:
    """Milliseconds of each load, and the bytes of the page without its style and script."""
    taken, size = [], 0
    for _ in range(loads):
        began = time.perf_counter()
        async with operator.get(f"http://{LISTEN}/") as answer:
            size = len(await answer.read())
        taken.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(1.1)  # what the page has read from the daemon is older than a second then
    return taken, size


def secret_of_link(directory: Path) -> str:
    argv = [sys.executable, "-m", "upnp_gw", "open", "--json", "--page-dir", str(directory / "p")]
    return urlsplit(str(json.loads(subprocess.check_output(argv))["url"])).path.rpartition("/")[2]


async def measured(secret: str, mappings: int, rounds: int, requests: int) -> int:
    async with (
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), connector=aiohttp.TCPConnector(limit=0)
        ) as operator,
    ):
        async with session.get(f"http://127.0.0.1:{IGD}/igd1.xml") as answer:
            found = re.search(rf"{TYPE}</serviceType>.*?<controlURL>(.*?)<", await answer.text(), re.S)
        assert found is not None
        client = Client(session, f"http://127.0.0.1:{IGD}{found[1]}")
        async with operator.post(f"http://{LISTEN}/sign-in", data={"secret": secret}) as answer:
            assert answer.status == 200
        for port in range(FIRST_PORT, FIRST_PORT + mappings):
            await client.add(port)
        taken, size = await first_page(operator, rounds)
        median = statistics.median(taken)
        print(f"first page, {mappings} mappings: median {median:.0f} ms, slowest {max(taken):.0f} ms, {size} bytes")
        without, beside = Samples("ms", []), Samples("ms", [])
        for number in range(rounds):
            for count in (0, PAGES) if number % 2 else (PAGES, 0):
                async with open_pages(operator, count):
                    (beside if count else without).rounds.append(await client.renewals(mappings, requests))
    for what, samples in (("no page", without), (f"{PAGES} pages", beside)):
        print(f"a renewal, {what}: median {statistics.median(samples.medians):.2f} ms")
    ratio = paired(beside, without)
    assert ratio is not None
    print(f"ratio {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
    return int(median > FIRST_MS or size > FIRST_BYTES)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_page", description=__doc__)
    parser.add_argument("--mappings", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=60, help="of a round")
    given = parser.parse_args()
    with TemporaryDirectory() as name, daemon_and_page(Path(name)):
        return asyncio.run(measured(secret_of_link(Path(name)), given.mappings, given.rounds, given.requests))


if __name__ == "__main__":
    sys.exit(main())
