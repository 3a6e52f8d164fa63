"""Whether the gateway has lost its state: the epoch's seconds against our own (RFC 6886 3.6, RFC 6887 8.5)."""


class EpochWatch:
    """One gateway's epoch. The first value seen is taken as it is."""

    def __init__(self) -> None:
        self._seen: tuple[float, int] | None = None

    def lost(self, epoch_s: int, now: float, *, jump_is_loss: bool = True) -> bool:
        """True where the mappings may be gone. ``now``: seconds on a clock that does not jump.

        ``jump_is_loss``: an epoch that runs ahead counts too, as in PCP; NAT-PMP looks for one behind alone.
        """
        before, self._seen = self._seen, (now, epoch_s)
        if before is None:
            return False
        here, there = now - before[0], epoch_s - before[1]
        if not jump_is_loss:
            return there + 2 < here - here / 8
        return there < -1 or there + 2 < here - here / 16 or here + 2 < there - there / 16
