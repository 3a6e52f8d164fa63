"""Notices that the gateway has lost its state, by its epoch time (RFC 6886 section 3.6, RFC 6887 section 8.5)."""


class EpochWatch:
    """The epoch of one gateway. The first value is accepted."""

    def __init__(self) -> None:
        self._seen: tuple[float, int] | None = None

    def state_lost(self, epoch_s: int, now: float, *, jump_is_loss: bool = True) -> bool:
        """True if the gateway may have lost the mappings. ``now``: seconds on a monotonic clock.

        ``jump_is_loss``: an epoch that runs ahead counts too (PCP). For NAT-PMP only one that is behind counts.
        """
        before, self._seen = self._seen, (now, epoch_s)
        if before is None:
            return False
        local_s, remote_s = now - before[0], epoch_s - before[1]
        if not jump_is_loss:
            return remote_s + 2 < local_s - local_s / 8
        return remote_s < -1 or remote_s + 2 < local_s - local_s / 16 or local_s + 2 < remote_s - remote_s / 16
