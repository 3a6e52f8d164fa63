"""The commands of systemd that follow, for each state of the units."""

from dataclasses import replace

import pytest

from upnp_gw.firewall.base import FirewallMode
from upnp_gw.setup.service import CLOSED, GATEWAY, PAGE, Service, Wanted, commands

ALL = frozenset({GATEWAY, PAGE, CLOSED})
FRESH = Service(True, ALL, frozenset())
BESIDE = Wanted(FirewallMode.ALONGSIDE, page=True, running=False, changed=True)
OWN = replace(BESIDE, mode=FirewallMode.ROUTER, unit_changed=True)
ENABLED = replace(FRESH, enabled=frozenset({GATEWAY, PAGE}))

CASES = {
    "after an installation": (FRESH, BESIDE, ["enable --now upnp-gw", "enable --now upnp-gw-page"]),
    "as the firewall": (
        FRESH,
        OWN,
        ["daemon-reload", "enable upnp-gw-closed", "enable --now upnp-gw", "enable --now upnp-gw-page"],
    ),
    "without the page": (FRESH, replace(BESIDE, page=False), ["enable --now upnp-gw"]),
    "without a unit of the page": (
        replace(FRESH, installed=frozenset({GATEWAY})),
        BESIDE,
        ["enable --now upnp-gw"],
    ),
    "no unit": (Service(True), BESIDE, []),
    "it runs, nothing changed": (ENABLED, replace(BESIDE, running=True, changed=False), []),
    "it runs, the configuration changed": (
        ENABLED,
        replace(BESIDE, running=True),
        ["restart upnp-gw", "restart upnp-gw-page"],
    ),
    "it runs, and becomes the firewall": (
        ENABLED,
        replace(OWN, running=True),
        ["daemon-reload", "enable upnp-gw-closed", "restart upnp-gw", "restart upnp-gw-page"],
    ),
    "it was the firewall": (
        replace(ENABLED, enabled=ALL),
        replace(BESIDE, running=True),
        ["disable upnp-gw-closed", "restart upnp-gw", "restart upnp-gw-page"],
    ),
    "it runs, and was started by hand of systemctl": (
        FRESH,
        replace(BESIDE, running=True, changed=False),
        ["enable upnp-gw", "enable --now upnp-gw-page"],
    ),
    "it was stopped": (
        ENABLED,
        replace(BESIDE, changed=False),
        ["start upnp-gw"],
    ),
    "the page goes": (
        ENABLED,
        replace(BESIDE, running=True, page=False),
        ["restart upnp-gw", "disable --now upnp-gw-page"],
    ),
}


@pytest.mark.parametrize(("service", "wanted", "steps"), CASES.values(), ids=CASES)
def test_commands(service: Service, wanted: Wanted, steps: list[str]) -> None:
    assert commands(service, wanted) == [["systemctl", *step.split()] for step in steps]


def test_the_closed_table_is_never_loaded_now() -> None:
    """It would end every mapping."""
    for service in (FRESH, ENABLED, replace(FRESH, enabled=ALL)):
        for wanted in (BESIDE, OWN, replace(OWN, running=True)):
            for _, *words in commands(service, wanted):
                assert CLOSED not in words or not {"--now", "start", "restart"} & set(words)
