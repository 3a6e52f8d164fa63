"""The commands of systemd that follow a set-up, from the state of the service. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from upnp_gw.firewall.base import FirewallMode

GATEWAY, PAGE, CLOSED = "upnp-gw", "upnp-gw-page", "upnp-gw-closed"
UNITS = (GATEWAY, PAGE, CLOSED)


@dataclass(frozen=True, slots=True)
class Service:
    """The units of upnp-gw on this machine."""

    booted: bool = False
    """True: systemd runs this machine, and systemctl is there."""
    installed: frozenset[str] = frozenset()
    enabled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The state after the set-up."""

    mode: FirewallMode
    page: bool
    running: bool
    """True: a gateway answers now."""
    changed: bool
    """True: the configuration changed, which a restart puts into force."""
    unit_changed: bool = False
    """True: a file of systemd was written."""


def commands(service: Service, wanted: Wanted) -> list[list[str]]:
    """The commands in order, each as its words; empty: nothing to do, or no unit is installed."""
    return [["systemctl", *rest] for rest in _steps(service, wanted)] if GATEWAY in service.installed else []


def _steps(service: Service, wanted: Wanted) -> Iterator[list[str]]:
    if wanted.unit_changed:
        yield ["daemon-reload"]
    if CLOSED in service.installed:
        router, enabled = wanted.mode is FirewallMode.ROUTER, CLOSED in service.enabled
        if router and not enabled:  # never --now: loading the closed table would end every mapping
            yield ["enable", CLOSED]
        if not router and enabled:
            yield ["disable", CLOSED]
    yield from _unit(GATEWAY, service, wanted, wanted.running)
    if PAGE in service.installed:
        if wanted.page:
            yield from _unit(PAGE, service, wanted, PAGE in service.enabled)
        elif PAGE in service.enabled:
            yield ["disable", "--now", PAGE]


def _unit(name: str, service: Service, wanted: Wanted, running: bool) -> Iterator[list[str]]:
    if name not in service.enabled:
        yield ["enable", *([] if running else ["--now"]), name]
    elif not running:
        yield ["start", name]
    if running and (wanted.changed or wanted.unit_changed):
        yield ["restart", name]
