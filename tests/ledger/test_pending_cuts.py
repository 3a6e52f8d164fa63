"""The pending cuts by time agree with a plain search, whatever is added, dropped and postponed."""

from random import Random

from tests.fixtures.mapping_rows import CONSOLE, PC, mapping
from upnp_gw.ledger.pending_cuts import PendingCut, PendingCuts, cut_of


def test_the_due_cuts_are_found_in_the_order_of_their_numbers() -> None:
    random = Random(3)
    cuts, plain = PendingCuts(), dict[int, PendingCut]()
    made: list[PendingCut] = []
    for step in range(3_000):
        now = float(step // 10)
        kind = random.randrange(6)
        if kind < 2:
            row = mapping(step, 8000 + step % 50, device=random.choice([CONSOLE, PC]))
            made.append(cut_of(step, row, random.choice(["deleted", "expired", "policy"]), now))
            cuts.add(made[-1])
            plain[step] = made[-1]
        elif kind == 2 and made:
            again = random.choice(made)  # as an undone operation does
            cuts.add(again)
            plain[again.number] = again
        elif kind == 3 and plain:
            number = random.choice(list(plain))
            cuts.drop(number)
            del plain[number]
        elif kind == 4:
            due = cuts.due(now, 3)
            cuts.postpone(due, now + 7)
            plain |= {cut.number: cut_at(cut, now + 7) for cut in due}
        else:
            cuts.expedite(CONSOLE, now)
            plain = {
                n: cut_at(cut, min(cut.due, now)) if cut.device == CONSOLE else cut for n, cut in plain.items()
            }
        expected = [plain[number] for number in sorted(plain) if plain[number].due <= now]
        assert cuts.due(now) == expected
        assert cuts.next() == min((cut.due for cut in plain.values()), default=None)
        assert len(cuts) == len(plain)
    assert len(cuts.due(float("inf"), 5)) == 5
    assert len(cuts._by_time) <= 64 + 2 * len(cuts)


def cut_at(cut: PendingCut, due: float) -> PendingCut:
    return PendingCut(cut.number, cut.device, cut.mapping, cut.decision, cut.key, cut.internal, due)
