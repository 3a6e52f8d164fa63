"""Probes each mapping from the internet as soon as it is open, and notes whether a packet arrives at the client."""

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from upnp_gw import api
from upnp_gw.lab.control_socket import EventStream
from upnp_gw.lab.host import Host
from upnp_gw.lab.probe import OpenConnection, dial
from upnp_gw.lab.program.capture import Capture
from upnp_gw.lab.program.report import ACCEPTED, ANSWERED, REFUSED, SILENT, UNPROBED, Opening, endpoint_text
from upnp_gw.model.mapping import Endpoint, Transport

PROBE_S = 1.0
"""Seconds for a TCP connection. Inside a lab it takes some milliseconds."""
ANSWER_S = 0.3
"""Seconds for an answer to a UDP datagram."""
AGAIN_S = 0.2
"""Seconds until the next probe of a port at which nothing listens yet."""
LISTEN_S = 10.0
"""Seconds for which a port is probed again. A program may map a port first and listen then."""
PROBES_AT_ONCE = 64
FIRST_SOURCE_PORT = 20_000
"""Each probe has its own source port, so that the capture knows it."""
DATAGRAM = b"probe of upnp-gw lab\n"


class Openings:
    """``with Openings(runtime_dir, peer, capture) as openings``: probes from ``peer`` while the block runs.

    A port at which nothing listens is probed again until something does, LISTEN_S are over, the mapping ends or
    ``finish`` is called.
    """

    def __init__(self, runtime_dir: Path, peer: Host, capture: Capture) -> None:
        self._peer = peer
        self._capture = capture
        self._ports = itertools.count(FIRST_SOURCE_PORT)
        self._known: dict[str, tuple[Future[Opening], threading.Event]] = {}
        """Mapping id -> its probe, and whether the mapping has ended."""
        self._pool = ThreadPoolExecutor(PROBES_AT_ONCE, thread_name_prefix="probe")
        self._stream = EventStream(runtime_dir)
        self._reader = threading.Thread(target=self._read, name="openings", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_reading()
        self._stream.close()
        self._end_probing()

    def finish(self, left: Sequence[api.Mapping]) -> list[Opening]:
        """The probes of all mappings, in the order of their grants. ``left``: those that are open now. No mapping
        is probed again after this."""
        self._end_reading()  # what has come by now is still read
        for mapping in left:
            self._note(mapping)
        self._end_probing()
        return [probe.result() for probe, _ in self._known.values()]

    def _end_reading(self) -> None:
        self._stream.end()
        self._reader.join()

    def _end_probing(self) -> None:
        for _, ended in self._known.values():
            ended.set()
        self._pool.shutdown()

    def _read(self) -> None:
        for line in self._stream:
            event = msgspec.json.decode(line, type=api.Event)
            if event.mapping is None:
                continue
            if event.event in ("added", "changed"):
                self._note(event.mapping)
            elif event.event == "removed" and event.mapping.id in self._known:
                self._known[event.mapping.id][1].set()

    def _note(self, mapping: api.Mapping) -> None:
        if mapping.id not in self._known and mapping.state == "active":
            ended = threading.Event()
            self._known[mapping.id] = self._pool.submit(self._probe, mapping, ended), ended

    def _probe(self, mapping: api.Mapping, ended: threading.Event) -> Opening:
        opening = Opening(
            mapping.id,
            mapping.transport.value,
            endpoint_text(mapping.external_address, mapping.external_port),
            endpoint_text(mapping.internal_client, mapping.internal_port),
            False,
            UNPROBED,
        )
        if mapping.remote_host is not None:
            return replace(opening, note=f"only {mapping.remote_host} may connect")
        if mapping.external_address is None:
            return replace(opening, note="it has no external address")
        give_up = time.monotonic() + LISTEN_S
        while True:
            arrived, answer = self._attempt(mapping.transport, mapping.external_address, mapping.external_port)
            opening = replace(opening, arrived=opening.arrived or arrived, answer=answer)
            if answer != REFUSED or time.monotonic() > give_up or ended.wait(AGAIN_S):
                return opening

    def _attempt(self, transport: Transport, address: str, port: int) -> tuple[bool, str]:
        target, source_port = ip_address(address), next(self._ports)
        source = Endpoint(self._peer.address if target.version == 4 else self._peer.address6, source_port)
        with dial(self._peer, transport, target, port, timeout=PROBE_S, source_port=source_port) as call:
            answer = _answer(transport, call)
        return self._capture.arrived(transport, source, ANSWER_S), answer


def _answer(transport: Transport, call: OpenConnection) -> str:
    if call.socket is None:
        return REFUSED if call.refused == "reset" else call.refused
    if transport is Transport.TCP:
        return ACCEPTED
    call.socket.settimeout(ANSWER_S)
    try:
        call.socket.send(DATAGRAM)
        call.socket.recv(2048)
    except TimeoutError:
        return SILENT
    except ConnectionRefusedError:
        return REFUSED
    return ANSWERED
