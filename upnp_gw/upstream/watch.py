"""Notices that the gateway above lost its state, or has another external address.

Its epoch (RFC 6886 section 3.6, RFC 6887 section 8.5) is in answers and announcements, its BOOTID in SSDP. One that
loses its state again and again is believed less and less often.
"""

import asyncio
import logging
from collections.abc import Callable

from upnp_gw.model.mapping import IPAddress, Via
from upnp_gw.protocols.epoch_watch import EpochWatch
from upnp_gw.protocols.ssdp.foreign import ForeignMessage, ForeignNts

log = logging.getLogger(__name__)

GAP_S = (2.0, 30.0)
"""Least seconds between two reports of a loss: after the first one, and after many in a row."""
CALM_S = 60.0
"""Seconds without a loss after which the first gap holds again."""
BOOT_IDS_MAX = 8
"""Root devices whose BOOTID is kept."""


class LossWatch:
    """``now``: BOOTTIME seconds."""

    def __init__(
        self,
        on_lost: Callable[[], None],
        on_external: Callable[[IPAddress], None],
        now: Callable[[], float],
    ) -> None:
        self.external: IPAddress | None = None
        """The external IPv4 address that was told last."""
        self.without_address = False
        """True: it said that it has none, and told none since."""
        self._on_lost = on_lost
        self._on_external = on_external
        self._now = now
        self._epochs: dict[tuple[Via, int], EpochWatch] = {}
        self._boot_ids: dict[str, int | None] = {}
        """UDN of a root device -> its BOOTID; None after its byebye."""
        self._gap_s = GAP_S[0]
        self._reported_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """No event comes after this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self) -> None:
        """Another gateway is above now: its epochs and its address are new."""
        self._epochs.clear()
        self._boot_ids.clear()
        self.external, self.without_address = None, False

    def epoch(self, via: Via, version: int, epoch_s: int) -> None:
        """An epoch in an answer or an announcement over this IP version."""
        watch = self._epochs.setdefault((via, version), EpochWatch())
        if watch.state_lost(epoch_s, self._now(), jump_is_loss=via is Via.PCP):
            self.state_lost("its epoch began again")

    def device(self, message: ForeignMessage) -> None:
        """An answer or an announcement of SSDP. Only root devices of IGD count."""
        if not message.igd_version:
            return
        known = message.udn in self._boot_ids
        before = self._boot_ids.get(message.udn)
        if message.nts is ForeignNts.BYEBYE:
            if known:
                self._boot_ids[message.udn] = None
            return
        if not known and None in self._boot_ids.values():  # it comes back under another name
            self.state_lost("it announced a restart")
        if not known and len(self._boot_ids) >= BOOT_IDS_MAX:
            return
        boot_id = message.next_boot_id if message.nts is ForeignNts.UPDATE else message.boot_id
        self._boot_ids[message.udn] = boot_id or 0
        if known and message.nts is not ForeignNts.UPDATE and before != (boot_id or 0):
            self.state_lost("it announced a restart")

    def external_told(self, address: IPAddress) -> None:
        """The external address, from an answer or an announcement."""
        before, self.external, self.without_address = self.external, address, False
        if before is not None and before != address:
            log.info("the external address of the gateway above is now %s", address)
            self._on_external(address)

    def no_external(self, gateway: IPAddress) -> None:
        """It says that it has no external address."""
        if not self.without_address:
            self.without_address = True
            log.warning("the gateway above at %s has no external address", gateway)

    def state_lost(self, why: str) -> None:
        """Reports it at once, or at the end of the gap after the last report."""
        now = self._now()
        if self._timer is not None:
            return
        if self._reported_at is None or now >= self._reported_at + self._gap_s:
            self._report(why)
            return
        wait = self._reported_at + self._gap_s - now
        self._timer = asyncio.get_running_loop().call_later(wait, self._report, why)

    def _report(self, why: str) -> None:
        now, before = self._now(), self._reported_at
        self._timer = None
        calm = before is None or now >= before + CALM_S
        self._gap_s = GAP_S[0] if calm else min(2 * self._gap_s, GAP_S[1])
        self._reported_at = now
        # the other protocols show the same loss: they begin anew
        self._epochs.clear()
        self._boot_ids.clear()
        level = logging.WARNING if calm else logging.DEBUG
        log.log(level, "the gateway above may have lost its mappings: %s", why)
        self._on_lost()
