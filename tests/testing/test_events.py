"""Events of the emulator, with a real subscriber."""

from tests.fixtures.waiting import async_until
from tests.testing.catalogue.clients import subscribed
from upnp_gw.testing import Emulator


async def test_a_subscriber_gets_the_new_external_address_and_the_journal_has_the_event() -> None:
    async with Emulator() as igd, subscribed(igd) as subscriber:
        await async_until(lambda: subscriber.addresses == [igd.external_address])
        assert igd.subscribers
        row = await igd.subscribers.async_wait_for(service="WANIPConnection", next_seq=1)
        assert (row.client, row.version) == ("127.0.0.1", 2)
        assert row.callback.startswith("http://127.0.0.1:")
        await igd.advance(seconds=100)
        later = igd.subscribers.one(sid=row.sid)
        assert 99 <= row.left_s - later.left_s <= 110
        assert igd.events.find(sid=row.sid)
        await igd.change_wan(external_address="9.9.9.9")
        await async_until(lambda: subscriber.addresses[-1] == "9.9.9.9")
        await igd.events.async_wait_for(seq=1)
        assert {event.outcome for event in igd.events} == {"delivered"}
        assert igd.requests.of("SUBSCRIBE")[0].arguments["nt"] == "upnp:event"
        await igd.advance(days=1)
        assert not igd.subscribers


async def test_a_lost_event_leaves_a_gap() -> None:
    async with Emulator() as igd, subscribed(igd) as subscriber:
        await async_until(lambda: len(subscriber.addresses) == 1)
        igd.lose_events(1)
        await igd.change_wan(external_address="9.9.9.9")
        lost = await igd.events.async_wait_for(outcome="lost")
        assert lost.values["ExternalIPAddress"] == "9.9.9.9"
        assert lost.seq == 1
        await igd.change_wan(external_address="9.9.9.10")
        await async_until(lambda: "9.9.9.10" in subscriber.addresses)
        assert "9.9.9.9" not in subscriber.addresses
        after = await igd.events.async_wait_for(sid=lost.sid, seq=2)
        assert after.values["ExternalIPAddress"] == "9.9.9.10"
        igd.reset()
        assert not igd.events
