"""The table is installed, filled, read and emptied where /etc/protocols is missing, as in containers."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import ROOT

SCRIPT = """
    import asyncio
    from pathlib import Path

    from tests.fixtures.firewall_driver import forward, settings
    from upnp_gw.firewall.base import Close, FirewallMode, Open, Refill
    from upnp_gw.firewall.nftables import NftablesFirewall
    from upnp_gw.model.mapping import Transport

    assert not Path("/etc/protocols").is_file(), "the file was not hidden"

    async def main(mode):
        firewall = NftablesFirewall()
        foreign = []
        await firewall.open(settings(mode), foreign.append)
        opened = [
            forward("m1", transport=Transport.TCP),
            forward("m2", transport=Transport.UDP, remote="11.50.1.0/24"),
            forward("m3", 443, "2001:db8:77::10", transport=Transport.UDP),
        ]
        await firewall.apply([Open(one) for one in opened])
        held = (await firewall.read()).left_s
        assert set(held) == {"m1", "m2", "m3"}, held
        await firewall.apply([Close(one) for one in opened])
        assert not (await firewall.read()).left_s
        await firewall.apply([Refill(tuple(opened))])
        await firewall.close(True)
        assert not foreign, foreign

    for mode in FirewallMode:
        asyncio.run(main(mode))
    print("done")
"""


@pytest.mark.lab
def test_the_table_works_without_the_file_of_protocol_names(namespaces: None) -> None:
    hide = "mount --bind /dev/null /etc/protocols; " if Path("/etc/protocols").exists() else ""
    unshare = shutil.which("unshare")
    assert unshare is not None
    command = [unshare, "--mount", "--net", "sh", "-ec", f'{hide}exec "$0" -c "$1"']
    ran = subprocess.run(
        [*command, sys.executable, textwrap.dedent(SCRIPT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout == "done\n"
