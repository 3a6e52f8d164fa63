"""Messages that were sent, failed or left out, by target."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from upnp_gw.control_client import ControlClient


@dataclass(slots=True)
class NotifyCounts:
    """Targets are numbers: their place in the configuration, from 0."""

    messages: Counter[tuple[int, str]] = field(default_factory=Counter)
    """(target, outcome); outcome: ``sent``, ``failed``, ``left-out``."""
    waiting: dict[int, int] = field(default_factory=dict)

    def samples(self) -> Iterator[tuple[tuple[str, str], int]]:
        """(target, outcome) and the count, also zeros."""
        for target in self.waiting:
            for outcome in ("sent", "failed", "left-out"):
                yield (str(target), outcome), self.messages[target, outcome]


_COUNTS: "WeakKeyDictionary[ControlClient, NotifyCounts]" = WeakKeyDictionary()


def counts_of(client: ControlClient) -> NotifyCounts:
    """The counts of the page that uses this client."""
    return _COUNTS.setdefault(client, NotifyCounts())
