"""The operations of the API. ``routes.ROUTES`` has their paths."""

import threading
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address
from itertools import count
from typing import Any, TypeVar

import msgspec

from upnp_gw.api import FieldError
from upnp_gw.testing.announcements import Announcement
from upnp_gw.testing.api import bodies
from upnp_gw.testing.changes import Live
from upnp_gw.testing.emulator import Emulator
from upnp_gw.testing.events import SentEvent
from upnp_gw.testing.fault_in_force import FaultInForce
from upnp_gw.testing.journal import Request, Requests
from upnp_gw.testing.mappings import HeldMapping
from upnp_gw.testing.records import Records
from upnp_gw.testing.subscribers import Subscriber

R = TypeVar("R")
_EXTERNAL = bodies.WORDS.accepted["external_address"]
_NO_PARAMETERS = {"name", "action", "times", "after"}


LONGEST_NUMBER = 18
"""Digits of the number of a fault. Python refuses to read thousands of them."""
ENDED_KEPT = 100
"""So many faults that have ended can still be asked for."""


class NotThere(LookupError):
    """There is no such id. The message says so."""


class TooLate(LookupError):
    """The entry that a query waited for did not come. The message says what is there."""


def _all(records: Records[R]) -> Records[R]:
    return records


def _answered(records: Records[Request]) -> Records[Request]:
    return Requests([request for request in records if request.answers], "answered request", records)


class Operations:
    """Functions run in a thread, one change at a time. Coroutines are the queries that can wait."""

    def __init__(self, emulator: Emulator, faults: tuple[str, ...], stop: Callable[[], object]) -> None:
        """``faults``: those of the start, as text; ``stop`` ends the process."""
        self.control = ""
        """The URL of this API, as soon as it is served."""
        self._emulator = emulator
        self._first_faults = faults
        self._stop = stop
        self._first_personality = emulator.personality_names
        self._first_address = emulator.external_address
        self._changing = threading.Lock()
        self._numbers = count(1)
        self._faults: dict[int, FaultInForce] = {}
        """Those in force, and those that ended."""
        self._put_first_faults()

    # -- state

    def state(self) -> bodies.State:
        igd = self._emulator
        urls = {
            version: url for version, url in ((1, igd.location_v1), (2, igd.location_v2)) if version in igd.versions
        }
        return bodies.State(
            control=self.control,
            location=igd.location,
            location_v1=urls.get(1, ""),
            location_v2=urls.get(2, ""),
            control_url=igd.control_url("WANIPConnection", max(igd.versions)),
            gateway_address=igd.gateway_address,
            search_port=igd.search_address[1],
            pcp_port=igd.pcp_address[1],
            external_address=igd.external_address,
            wan_up=igd.wan_up,
            personality=list(igd.personality_names),
            now_s=igd.now_s,
            mappings=len(igd.mappings),
            pinholes=len(igd.pinholes),
            requests=len(igd.requests),
            subscribers=len(igd.subscribers),
        )

    async def mappings(self, query: bodies.MappingFilter) -> list[HeldMapping]:
        return await self._found(lambda: self._emulator.mappings, query)

    async def pinholes(self, query: bodies.MappingFilter) -> list[HeldMapping]:
        return await self._found(lambda: self._emulator.pinholes, query)

    async def requests(self, query: bodies.RequestFilter) -> list[Request]:
        narrow = _answered if query.answered else _all
        return await self._found(lambda: self._emulator.requests, query, narrow)

    async def events(self, query: bodies.EventFilter) -> list[SentEvent]:
        return await self._found(lambda: self._emulator.events, query)

    async def subscribers(self, query: bodies.SubscriberFilter) -> list[Subscriber]:
        return await self._found(lambda: self._emulator.subscribers, query)

    async def announcements(self, query: bodies.AnnouncementFilter) -> list[Announcement]:
        return await self._found(lambda: self._emulator.announcements, query)

    async def _found(
        self,
        read: Callable[[], Records[R]],
        query: msgspec.Struct,
        narrow: "Callable[[Records[R]], Records[R]]" = _all,
    ) -> list[R]:
        """Those that the query names, as soon as there are enough of them. ``narrow``: those that count. Raises
        TooLate."""
        wanted: dict[str, Any] = {n: v for n, v in msgspec.structs.asdict(query).items() if v is not None}
        least, wait_s, _ = wanted.pop("count"), wanted.pop("wait_s"), wanted.pop("answered", None)
        if wait_s:
            live = Live(self._emulator.changes, read)
            try:
                await live.async_wait(lambda records: narrow(records.find(**wanted)), least, wait_s)
            except AssertionError as late:
                raise TooLate(str(late)) from None
        return list(read().find(**wanted))

    # -- faults

    def catalogue(self) -> bodies.Catalogue:
        from upnp_gw.testing.personalities import PERSONALITIES, description_and_source
        from upnp_gw.testing.registry import entries

        kinds = [(name, *description_and_source(kind)) for name, kind in PERSONALITIES.items()]
        return bodies.Catalogue(
            faults=list(entries()),
            personalities=[bodies.PersonalityEntry(name=n, description=d, source=s) for n, d, s in kinds],
        )

    def faults(self) -> list[bodies.Fault]:
        with self._changing:
            return [self._shown(number) for number, fault in self._faults.items() if fault.in_force]

    def fault(self, number: str) -> bodies.Fault:
        with self._changing:
            return self._shown(self._known(number))

    def put_fault(self, body: bodies.PutFault) -> bodies.Fault:
        if bool(body.text) == bool(body.name):
            raise FieldError("text", "give text or name, one of them")
        for name in _NO_PARAMETERS & body.parameters.keys():
            raise FieldError("parameters", f"{name} is a field of the body, no parameter of a fault")
        with self._changing:
            if body.text:
                return self._kept("text", lambda: self._emulator.parsed_fault(body.text))
            return self._kept(
                "name",
                lambda: self._emulator.fault(
                    body.name, body.action, times=body.times, after=body.after, **body.parameters
                ),
            )

    def put_answer(self, body: bodies.PutAnswer) -> bodies.Fault:
        given: dict[str, Any] = {n: v for n, v in msgspec.structs.asdict(body).items() if v is not None}
        with self._changing:
            return self._kept("action", lambda: self._emulator.answer(given.pop("action"), **given))

    def take_back(self, number: str) -> bodies.Fault:
        with self._changing:
            known = self._known(number)
            self._faults[known].remove()
            return self._shown(known)

    def take_all_back(self) -> list[bodies.Fault]:
        with self._changing:
            before = [number for number, fault in self._faults.items() if fault.in_force]
            self._emulator.clear()
            return [self._shown(number) for number in before]

    def personality(self, body: bodies.Personality) -> bodies.State:
        with self._changing:
            _said("names", lambda: self._emulator.personality(*body.names))
            return self.state()

    # -- time, WAN, life

    def time(self) -> bodies.Time:
        return bodies.Time(now_s=self._emulator.now_s)

    def advance(self, body: bodies.Advance) -> bodies.Time:
        with self._changing:
            self._emulator.advance(days=body.days, hours=body.hours, minutes=body.minutes, seconds=body.seconds)
            return self.time()

    def wan(self, body: bodies.Wan) -> bodies.State:
        try:
            IPv4Address(body.external_address or "0.0.0.0")
        except AddressValueError:
            raise FieldError("external_address", f"accepted: {_EXTERNAL}") from None
        with self._changing:
            self._emulator.change_wan(external_address=body.external_address, up=body.up)
            return self.state()

    def reboot(self, body: bodies.Reboot) -> bodies.State:
        with self._changing:
            self._emulator.reboot(keep_mappings=body.keep_mappings)
            return self.state()

    def reset(self, body: bodies.Reset) -> bodies.State:
        with self._changing:
            self._emulator.reset()
            if body.as_new:
                self._emulator.personality(*self._first_personality)
                self._emulator.change_wan(external_address=self._first_address, up=True)
                self._emulator.reboot()
                self._emulator.reset()
                self._put_first_faults()
            return self.state()

    def stop(self) -> bodies.State:
        state = self.state()
        self._stop()
        return state

    # -- the faults' numbers

    def _put_first_faults(self) -> None:
        for text in self._first_faults:
            self._kept("--fault", lambda: self._emulator.parsed_fault(text))  # noqa: B023 - it is called at once

    def _kept(self, field: str, put: Callable[[], FaultInForce]) -> bodies.Fault:
        put_in_force, number = _said(field, put), next(self._numbers)
        for ended in [each for each, fault in self._faults.items() if not fault.in_force][:-ENDED_KEPT]:
            del self._faults[ended]
        self._faults[number] = put_in_force
        return self._shown(number)

    def _known(self, number: str) -> int:
        if not number.isdecimal() or len(number) > LONGEST_NUMBER or int(number) not in self._faults:
            raise NotThere(f"there is no fault {number[:20]!r}; GET /v1/faults lists those in force")
        return int(number)

    def _shown(self, number: int) -> bodies.Fault:
        fault = self._faults[number]
        return bodies.Fault(
            id=number, name=fault.name, action=fault.action, left=fault.left, struck=len(fault.struck)
        )


def _said(field: str, call: Callable[[], R]) -> R:
    """The ValueErrors of the registry say what is accepted, in words for the caller. Raises FieldError."""
    try:
        return call()
    except ValueError as error:
        raise FieldError(field, str(error)) from None
