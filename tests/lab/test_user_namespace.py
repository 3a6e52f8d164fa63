"""Root of a user namespace may not enlarge its socket's buffer: a large refill goes in portions."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.lab

SCRIPT = """
import asyncio, sys
from tests.fixtures.firewall_driver import forward, settings
from upnp_gw.model.errors import FirewallError
from upnp_gw.firewall.base import Refill
from upnp_gw.firewall.nftables import NftablesFirewall, Writing
from upnp_gw.firewall.libnftables import Session, TooLarge
from upnp_gw.firewall.netlink import BatchSocket

async def main() -> None:
    firewall = NftablesFirewall(writing=Writing(sys.argv[2]))
    sent = []
    run, send = Session.run, BatchSocket.send_batch

    def counted_send(self, batch):
        failures = send(self, batch)
        sent.append(len(batch))
        return failures

    def counted(self, commands):
        if len(commands) > int(sys.argv[1]):
            raise TooLarge("nftables: too large a change")
        sent.append(len(commands))
        run(self, commands)

    Session.run, BatchSocket.send_batch = counted, counted_send
    await firewall.open(settings(size=20_000), lambda what: None)
    sent.clear()
    many = tuple(forward(f"m{n}", 1 + n, to=f"192.168.{n // 200}.{1 + n % 200}") for n in range(6000))
    await firewall.apply([Refill(many)])
    assert len((await firewall.read()).left_s) == 6000
    await firewall.apply([Refill(many[:10])])
    assert set((await firewall.read()).left_s) == {f"m{n}" for n in range(10)}
    await firewall.close()
    print("portions", len(sent))

asyncio.run(main())
"""


# libnftables 1.0.6 cannot send a refill of 6,000 whole without the right to a larger buffer, 1.1 can
@pytest.mark.parametrize(
    ("writing", "longest", "fewest"),
    [("libnftables", 1 << 30, 1), ("libnftables", 250_000, 2), ("netlink", 1 << 30, 1)],
    ids=["the library's limit", "a lower one", "our own messages"],
)
def test_a_large_refill_arrives_in_parts_of_any_size(writing: str, longest: int, fewest: int) -> None:
    script = [sys.executable, "-c", SCRIPT, str(longest), writing]
    argv = ["unshare", "--user", "--map-root-user", "--net", *script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, cwd=os.getcwd(), check=False)
    if "unshare" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.stderr
    word, portions = done.stdout.split()
    assert word == "portions"
    assert int(portions) >= fewest + 1, "one for the small refill, the others for the large one"
