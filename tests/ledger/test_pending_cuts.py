"""The pending cuts by time agree with a plain search, whatever is added, dropped and postponed."""

from random import Random

from tests.fixtures.mapping_rows import CONSOLE, PC, mapping
from upnp_gw.ledger.pending_cuts import PendingCut, PendingCuts, cut_of
from upnp_gw.model.mapping import Transport


def test_the_due_cuts_are_found_in_the_order_of_their_numbers() -> None:
    random = Random(3)
    cuts, plain = PendingCuts(), dict[int, PendingCut]()
    made: list[PendingCut] = []
    for step in range(3_000):
        now = float(step // 10)
        kind = random.randrange(6)
        if kind < 2:
            client, nat = f"192.168.77.{10 + step % 3}", bool(step % 2)
            row = mapping(step, 8000 + step % 50, device=random.choice([CONSOLE, PC]), client=client, nat=nat)
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
        port = 8000 + step % 50
        kept = [n for n, cut in plain.items() if cut.key.external_address is None and cut.key.external_port == port]
        assert cuts.kept_for(Transport.TCP, port) == (plain[min(kept)].device if kept else None)
    assert len(cuts.due(float("inf"), 5)) == 5
    assert len(cuts._by_time) <= 64 + 2 * len(cuts)


def test_a_pinhole_keeps_no_port_of_the_gateway_and_none_of_another_host() -> None:
    cuts = PendingCuts([cut_of(1, mapping(1, 8080, nat=False), "expired", 0.0)])
    assert cuts.kept_for(Transport.TCP, 8080) is None
    again = mapping(2, 8080, nat=False)
    assert [cut.number for cut in cuts.unneeded_after(again)] == [1]
    assert cuts.unneeded_after(mapping(3, 8080, client="192.168.77.20", nat=False)) == []
    assert cuts.unneeded_after(mapping(4, 8080)) == []


def cut_at(cut: PendingCut, due: float) -> PendingCut:
    return PendingCut(cut.number, cut.device, cut.mapping, cut.decision, cut.key, cut.internal, due)
