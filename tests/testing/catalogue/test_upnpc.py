"""Personalities, as upnpc meets them."""

import subprocess

import pytest

from upnp_gw.testing import Emulator

pytestmark = pytest.mark.lab
"""It is a Debian package."""

SEEN = {
    "v1-only": (0, "external 11.22.33.44:8080 TCP is redirected to internal 127.0.0.1:8080 (duration=3600)"),
    "ppp-connection": (0, "external 11.22.33.44:8080 TCP is redirected to internal 127.0.0.1:8080"),
    "urlbase-without-port": (0, "(duration=3600)"),
    "upper-case-udn": (0, "(duration=3600)"),
    "broken-xml": (0, "(duration=3600)"),
    "lease-always-a-day": (0, "(duration=86400)"),
    "internal-port-ignored": (0, "is redirected to internal 127.0.0.1:8080"),
    "double-nat": (0, "ExternalIPAddress = 192.168.1.7"),
    "unspecified-external-address": (0, "ExternalIPAddress = 0.0.0.0"),
    "two-wan-connections-one-down": (2, "failed with code 501 (Action Failed)"),
    "spaces-in-urls": (2, "failed with code -3 (Miniupnpc HTTP error)"),
    "spaces-around-urls": (2, "GetExternalIPAddress failed."),
    "relative-control-urls-with-urlbase": (2, "failed with code -3 (Miniupnpc HTTP error)"),
    "only-permanent-leases": (2, "failed with code 725 (OnlyPermanentLeasesSupported)"),
    "did-it-and-says-501": (2, "failed with code 501 (Action Failed)"),
}
"""Exit code, and a part of what it prints for a TCP port."""
MADE_ALTHOUGH_REFUSED = {"did-it-and-says-501"}


@pytest.mark.parametrize("name", SEEN)
def test_upnpc_sees_the_personality(name: str) -> None:
    code, shown = SEEN[name]
    with Emulator(personality=name) as igd:
        argv = ["upnpc", "-u", igd.location, "-a", "127.0.0.1", "8080", "8080", "tcp", "3600"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, shown in done.stdout) == (code, True), done.stdout
        assert bool(igd.mappings) is (code == 0 or name in MADE_ALTHOUGH_REFUSED)


def test_upnpc_lists_a_table_that_renumbers_itself() -> None:
    with Emulator(personality="renumbering-index") as igd:
        for port in ("8080", "8081"):
            add = ["upnpc", "-u", igd.location, "-a", "127.0.0.1", port, port, "tcp", "3600"]
            subprocess.run(add, capture_output=True, timeout=20, check=True)
        listed = subprocess.run(["upnpc", "-u", igd.location, "-l"], capture_output=True, text=True, timeout=20)
        assert listed.stdout.index("8081->") < listed.stdout.index("8080->")
