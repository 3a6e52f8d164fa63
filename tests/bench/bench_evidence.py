"""The cost of evidence: a request, a minute's reading, a suggestion. Run: python -m tests.bench.bench_evidence"""

import asyncio
import tempfile
import time
from datetime import date
from pathlib import Path

from tests.fixtures.gateway import CONSOLE_IP, gateway_fixture
from upnp_gw.firewall.base import Counters
from upnp_gw.gate.load import load_text
from upnp_gw.ledger.events import Decided
from upnp_gw.ledger.evidence import EvidenceKey, EvidenceTable
from upnp_gw.model.mapping import DAY_S, Transport
from upnp_gw.suggest.document import suggest_policy
from upnp_gw.suggest.needs import learn

NOW, TODAY = 1_800_000_000.0, date(2027, 1, 15)
ROOMY = 'version = 1\n[limits]\nper_device = 2000\nrequests_per_minute = 6000\n[[grant]]\nname = "all"\nwho = "*"\n'


async def witnessed() -> None:
    policy = load_text(ROOMY, "roomy", TODAY).policy
    with tempfile.TemporaryDirectory() as directory:
        async with gateway_fixture(Path(directory), policy) as home:
            for port in range(2000, 3000):
                mapping = (await home.granted(port, CONSOLE_IP)).mapping.id
                home.firewall.counters[mapping] = Counters(1, 5000, 9)
            events = [event for event in home.events if isinstance(event, Decided)]
            begun = time.perf_counter()
            for event in events:
                home.evidence_collector.on_event(event)
            print(f"a request:                {(time.perf_counter() - begun) / len(events) * 1e6:7.1f} us")
            begun = time.perf_counter()
            await home.usage_reader.count(remotes=True)
            print(f"a reading, 1000 mappings: {(time.perf_counter() - begun) * 1e3:7.1f} ms")
            begun = time.perf_counter()
            await home.evidence_collector.flush()
            print(f"writing what changed:     {(time.perf_counter() - begun) * 1e3:7.1f} ms")


def suggested() -> None:
    macs = [f"02:00:00:00:00:{number:02x}" for number in range(60)]
    text = "version = 1\n" + "".join(f'[device.d{n}]\nmac = ["{mac}"]\n' for n, mac in enumerate(macs))
    evidence = EvidenceTable()
    for mac in macs:
        evidence.seen(mac, NOW - 30 * DAY_S)
        for port in range(5000, 5020):
            evidence.row(EvidenceKey(mac, Transport.TCP, 4, port), NOW).days = (1, 2, 3)
    begun = time.perf_counter()
    learnt = learn(load_text(text, "text", TODAY).policy, evidence, NOW, 3)
    learned = time.perf_counter()
    made = suggest_policy(text, {"version": 1}, learnt, TODAY)
    print(f"learning, 1200 rows:      {(learned - begun) * 1e3:7.1f} ms")
    print(f"suggesting {made.grants} grants:     {(time.perf_counter() - learned) * 1e3:7.1f} ms, in a thread")


if __name__ == "__main__":
    asyncio.run(witnessed())
    suggested()
