"""Makes and removes the sets, maps and rules of screens in the kernel, around a change that needs them."""

from collections.abc import Callable, Iterable, Sequence

from upnp_gw.firewall.base import Change, FirewallSettings, Forward, HostLists, Open, Refill, UpdateHosts
from upnp_gw.firewall.nftables.ruleset import deleted, rules, screens_declared
from upnp_gw.firewall.nftables.screens import host_sets, hosts_of, own_maps
from upnp_gw.firewall.nftables.state import RulesetState
from upnp_gw.model.address_ranges import NO_ADDRESSES, AddressRanges
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import NO_SCREEN, Screen


class Screening:
    """For one change. ``run`` makes one transaction of nft commands, or none and raises FirewallError. ``fill``: as
    ``ElementWriter.fill_hosts``."""

    def __init__(
        self,
        state: RulesetState,
        settings: FirewallSettings,
        run: Callable[[str], object],
        fill: Callable[[str, AddressRanges, AddressRanges], None],
    ) -> None:
        self._state = state
        self._settings = settings
        self._run = run
        self._fill = fill

    def prepare(self, changes: Sequence[Change]) -> Callable[[], None]:
        """Makes what these changes need. The answer takes it back, where the change is refused."""
        before, wanted = self._state.hosts, _wanted_hosts(changes)
        if wanted is not None:
            self._follow({**before, **wanted})
        self._declare(_screens_of(changes))
        return (lambda: None) if wanted is None else (lambda: self._follow(before))

    def settle(self, changes: Sequence[Change]) -> None:
        """Removes what no forward needs any more, after these changes."""
        wanted = _wanted_hosts(changes)
        if wanted is None:
            return
        used = {held.screen for held in self._state.forwards.values()}
        screens = tuple(one for one in self._state.screens if one in used)
        hosts = {one: ranges for one, ranges in self._state.hosts.items() if one in wanted or one in hosts_of(used)}
        gone = own_maps(one for one in self._state.screens if one not in used)
        gone += tuple(name for one in self._state.hosts.keys() - hosts.keys() for name in host_sets(one))
        if gone:
            self._run(rules(self._settings, screens) + deleted(gone))
        self._state.screens, self._state.hosts = screens, hosts

    def _follow(self, hosts: HostLists) -> None:
        """Brings the interval sets to these hosts."""
        new = [one for one in hosts if one not in self._state.hosts]
        if new:
            self._run(screens_declared(self._settings, (), new))
            self._state.hosts = {**self._state.hosts, **dict.fromkeys(new, NO_ADDRESSES)}
        for one, ranges in hosts.items():
            if self._state.hosts[one] != ranges:
                self._fill(one, self._state.hosts[one], ranges)
                self._state.hosts = {**self._state.hosts, one: ranges}

    def _declare(self, screens: Iterable[Screen]) -> None:
        """Makes the maps and rules of screens that are not there yet. Raises FirewallError for unknown hosts."""
        known = self._state.screens
        new = tuple(dict.fromkeys(one for one in screens if one.name and one not in known))
        if not new:
            return
        if not hosts_of(new) <= self._state.hosts.keys():
            raise FirewallError("a mapping is for remote hosts of a list that is not there")
        all_screens = (*known, *new)
        self._run(screens_declared(self._settings, new, ()) + rules(self._settings, all_screens))
        self._state.screens = all_screens


def needs_screens(changes: Sequence[Change]) -> bool:
    """True where these changes are about a screen or about lists of hosts: hardly ever."""
    for change in changes:
        if isinstance(change, Open):
            if change.forward.screen is not NO_SCREEN and change.forward.screen.name:
                return True
        elif isinstance(change, UpdateHosts | Refill):
            return True
    return False


def _wanted_hosts(changes: Sequence[Change]) -> HostLists | None:
    return next((change.hosts for change in changes if isinstance(change, UpdateHosts)), None)


def _screens_of(changes: Sequence[Change]) -> Iterable[Screen]:
    return (forward.screen for change in changes for forward in _forwards_of(change) if forward.screen.name)


def _forwards_of(change: Change) -> Sequence[Forward]:
    if isinstance(change, Open):
        return (change.forward,)
    return change.forwards if isinstance(change, Refill) else ()
