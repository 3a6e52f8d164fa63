"""The texts of configuration and policy."""

from pathlib import Path

from upnp_gw.config.file import parse_text
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.setup.answers import Answers, LanAnswer
from upnp_gw.setup.documents import Surroundings, configuration


def test_a_new_configuration_says_what_was_answered_and_another_run_changes_nothing() -> None:
    answers = Answers("eth0", (LanAnswer("br0"),), FirewallMode.ROUTER, "home", "own")
    around = Surroundings(Path("/etc/upnp-gw/policy.toml"))
    text = configuration(None, "/etc/upnp-gw/config.toml", answers, around)
    assert parse_text(text, "x")["firewall"] is FirewallMode.ROUTER
    assert configuration(text, "/etc/upnp-gw/config.toml", answers, around) == text
