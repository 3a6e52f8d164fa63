"""A firewall around another one, with the faults of the test between."""

from collections.abc import Callable, Iterable, Sequence

from upnp_gw.firewall.base import Change, Close, Firewall, FirewallSettings, Growth, Open, Reading, Refill
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.testing.fault import Fault


class FirewallSeam:
    """A ``Firewall``. ``faults``: those in force now."""

    def __init__(self, inner: Firewall, faults: Callable[[], Iterable[Fault]]) -> None:
        self._inner = inner
        self._faults = faults
        self._installed: set[str] = set()
        """The ids of the forwards that were opened and not closed since."""

    def forwards(self, mapping_id: str) -> bool:
        """True where the firewall was given this mapping."""
        return mapping_id in self._installed

    def check_clock(self) -> None:
        """Raises RuntimeError for a firewall whose timeouts run by another clock than the test's."""
        if not isinstance(self._inner, MemoryFirewall):
            raise RuntimeError("time cannot be moved with nftables: the kernel's timeouts run by its own clock")

    async def open(self, settings: FirewallSettings, on_foreign_change: Callable[[str], None]) -> None:
        await self._inner.open(settings, on_foreign_change)

    async def apply(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        """Raises FirewallError, also where a fault refuses the changes."""
        for fault in self._faults():
            changes = fault.changes(changes, self._installed)
        await self._inner.apply(changes, then)
        for change in changes:
            self._note(change)

    async def read(self, remotes: bool = False) -> Reading:
        return await self._inner.read(remotes)

    async def read_growth(self, remotes: bool = False, at_stop: bool = False) -> Growth:
        return await self._inner.read_growth(remotes, at_stop)

    async def close(self, flush: bool = False) -> None:
        await self._inner.close(flush)

    def _note(self, change: Change) -> None:
        match change:
            case Open(forward):
                self._installed.add(forward.id)
            case Close(forward):
                self._installed.discard(forward.id)
            case Refill(forwards):
                self._installed = {forward.id for forward in forwards}
