"""The policy in force: its rules, its limits and the text of its two files. One object has them; others read it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.gate.managed_file import first_end, without_rules
from upnp_gw.gate.schema import Policy
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.text.toml import line_of, parse_tables


def hosts_of(policy: Policy) -> Mapping[str, AddressRanges]:
    """The lists of remote hosts that screens may name by this policy, by their id."""
    return {one: hosts.ranges for one, hosts in policy.screened.items()}


class PolicyInForce:
    """Only ``replace`` changes it, as a whole."""

    def __init__(self, loaded: LoadedPolicy, since: float) -> None:
        """``since``: wall-clock seconds."""
        self._put(loaded, since)

    def _put(self, loaded: LoadedPolicy, since: float) -> None:
        self.loaded = loaded
        """The policy with its texts and its warnings."""
        self.since = since
        """Wall-clock seconds at which it came into force."""
        self.policy = loaded.policy
        self.limits = loaded.policy.limits
        self._approved: dict[str, Any] | None = None

    def replace(self, loaded: LoadedPolicy, since: float, on_undo: list[Callable[[], None]]) -> None:
        """Puts another policy into force; ``on_undo`` gets the call that brings back the one before."""
        on_undo.append(partial(self._put, self.loaded, self.since))
        self._put(loaded, since)

    @property
    def approved(self) -> dict[str, Any]:
        """The tables of the machine-owned file, without rules that had ended when the policy was loaded."""
        if self._approved is None:
            text = self.loaded.approved
            self._approved = without_rules(parse_tables(text, "") if text else {"version": 1}, self.loaded.ended)
        return self._approved

    def place_of(self, key: str) -> str:
        """``policy.toml:12``: the line of a key of the operator's file; the key where the file is not known."""
        line = line_of(self.loaded.text, key)
        return key if line is None else f"{self.loaded.where}:{line}"

    @property
    def hosts(self) -> Mapping[str, AddressRanges]:
        """The lists of remote hosts that screens may name, by their id."""
        return hosts_of(self.policy)

    def next_end(self) -> float | None:
        """Wall-clock seconds at which the first rule of the machine-owned file ends; None: none will."""
        return first_end(self.approved)
