"""Firewalls by their chains."""

from upnp_gw.firewall.base import FirewallMode
from upnp_gw.setup.firewalls import find_firewalls, propose_mode


def test_a_machine_without_a_firewall_gets_ours() -> None:
    assert propose_mode(find_firewalls({"nftables": []}, "eth0", []))[0] is FirewallMode.ROUTER
    assert propose_mode(find_firewalls(None, "eth0", []))[0] is FirewallMode.ALONGSIDE
