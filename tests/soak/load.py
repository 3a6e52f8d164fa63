"""Sixteen clients that never rest, four on each host, and a record of the answers to each.

Every client owns its ports, so that it alone knows their state: a port is open, shut, or in doubt where
the answer did not come.
"""

import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

from tests.lab.igd_control_point import ControlPoint, Fault
from tests.soak.household import HOSTS, Household
from upnp_gw.lab.topology import HOME
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.natpmp import codec as natpmp

EACH = 4
"""Clients of one host: as many connections as it may have."""
PORTS = 400
"""Ports of one client."""
KEPT_MAPPINGS = 40
"""Mappings that a client keeps: with more it deletes more."""
LEASE_S = 7200
NO_SUCH = 714
ANSWER_S = 10.0


class PortState(Enum):
    """The state of a port, as its client knows it."""

    OPEN = "open"
    SHUT = "shut"
    DOUBT = "in doubt"


class Refused(Exception):
    """The gateway answered no."""


class NoAnswer(Exception):
    """Nothing came back, or half of it."""


class Client:
    """One client. ``say`` and ``end`` are its protocol's; everything else is the same for all."""

    def __init__(self, load: "Load", number: int, host: str) -> None:
        self.name = f"client {number}"
        self.host = load.home.lab.hosts[host]
        self.first = 10000 + number * PORTS
        self.ports: dict[int, PortState] = {}
        self.story: deque[str] = deque(maxlen=400)
        """Its last requests and their answers."""
        self._load = load
        self._random = random.Random(number)

    @property
    def transport(self) -> Transport:
        return Transport.TCP

    def request(self, port: int, target: str) -> None:
        """Asks for a port. Returns where it was granted; raises Refused, NoAnswer."""
        raise NotImplementedError

    def end(self, port: int) -> None:
        raise NotImplementedError

    def _note(self, port: int, what: str) -> None:
        self.story.append(f"{time.monotonic():.3f} {port} {what}")

    def run(self) -> None:
        while self._load.admitted(self):
            try:
                self._act()
            except (OSError, NoAnswer) as error:
                self._load.counts["unanswered"] += 1
                self.story.append(f"{time.monotonic():.3f} unanswered: {error!r}")
            except Exception as error:  # a defect of the test: it must not look like a quiet client
                self._load.wrong(f"{self.name}: {type(error).__name__}: {error}")
            self._load.rest()

    def _act(self) -> None:
        standing = [port for port, answer in self.ports.items() if answer is PortState.OPEN]
        chance = self._random.random()
        if standing and (len(standing) > KEPT_MAPPINGS or chance < 0.25):
            self._delete(self._random.choice(standing))
        elif standing and chance < 0.4:
            self._refresh(self._random.choice(standing))
        elif chance < 0.55:
            self._ask_for_another()
        else:
            self._add(self.first + self._random.randrange(PORTS - 50))

    def _add(self, port: int) -> None:
        if self.ports.get(port, PortState.SHUT) is not PortState.SHUT:
            return
        self.ports[port] = PortState.DOUBT
        self._note(port, "add")
        try:
            self.request(port, str(self.host.address))
        except Refused as error:
            self.ports[port] = PortState.SHUT
            self._load.counts["refused"] += 1
            self._note(port, f"refused: {error}")
        else:
            self.ports[port] = PortState.OPEN
            self._load.counts["granted"] += 1
            self._note(port, "granted")

    def _refresh(self, port: int) -> None:
        self._note(port, "refresh")
        try:
            self.request(port, str(self.host.address))
        except Refused as error:
            self._load.counts["refused"] += 1
            self._note(port, f"refused: {error}")
        else:
            self._load.counts["refreshed"] += 1
            self._note(port, "refreshed")

    def _delete(self, port: int) -> None:
        self.ports[port] = PortState.DOUBT
        self._note(port, "delete")
        try:
            self.end(port)
        except Refused as error:
            if str(NO_SUCH) in str(error):
                self._load.wrong(f"{self.name}: what stood at {port} was gone: {error}")
            self.ports[port] = PortState.OPEN
            self._load.counts["refused"] += 1
            self._note(port, f"refused: {error}")
        else:
            self.ports[port] = PortState.SHUT
            self._load.counts["deleted"] += 1
            self._note(port, "deleted")

    def _ask_for_another(self) -> None:
        """For another host, which nobody may: the port must stay shut, answered or not."""
        port = self.first + PORTS - 1 - self._random.randrange(50)
        self.ports[port] = PortState.SHUT
        others = [host for host in HOSTS if host.name != self.host.name]
        target = HOME.network[self._random.choice(others).number]
        with suppress(Refused):
            self.request(port, str(target))
            self._load.wrong(f"{self.name}: {port} for {target} was granted")
        self._load.counts["denied"] += 1


class IgdClient(Client):
    """UPnP IGD over HTTP, one connection for each action."""

    def __init__(self, load: "Load", number: int, host: str, igd_version: IgdVersion) -> None:
        super().__init__(load, number, host)
        self._face = igd_version
        self._point: ControlPoint | None = None

    def request(self, port: int, target: str) -> None:
        with self._faults():
            self._control().add(port, NewInternalClient=target, NewLeaseDuration=LEASE_S)

    def end(self, port: int) -> None:
        with self._faults():
            self._control().delete(port)

    def _control(self) -> ControlPoint:
        if self._point is None:
            self._point = ControlPoint(self.host, HOME.network[1], self._face)
        return self._point

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            raise Refused(str(fault)) from None


class NatPmpClient(Client):
    """NAT-PMP, which asks again until it is answered, as clients do. Nobody can map for others with it."""

    @property
    def transport(self) -> Transport:
        return Transport.UDP

    def request(self, port: int, target: str) -> None:
        if target != str(self.host.address):
            raise Refused("there is no field for another host")
        code, given, lifetime = self._exchange(port, port, LEASE_S)
        if code != natpmp.NatPmpResult.SUCCESS or not lifetime:
            raise Refused(f"result {code}")
        if given != port:
            self._load.wrong(f"{self.name}: {port} was asked for, {given} given")

    def end(self, port: int) -> None:
        code, _, _ = self._exchange(port, 0, 0)
        if code != natpmp.NatPmpResult.SUCCESS:
            raise Refused(f"result {code}")

    def _exchange(self, internal: int, external: int, lifetime_s: int) -> tuple[int, int, int]:
        request = struct.pack("!BBHHHI", 0, 1, 0, internal, external, lifetime_s)
        with self.host.inside():
            link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with link:
            link.connect((str(HOME.network[1]), 5351))
            for wait_s in (0.25, 0.5, 1.0, 2.0):
                link.settimeout(wait_s)
                with suppress(TimeoutError):
                    link.send(request)
                    answer = link.recv(64)
                    if len(answer) == 16:
                        _, _, code, _, _, given, lifetime = struct.unpack("!BBHIHHI", answer)
                        return code, given, lifetime
                    return struct.unpack("!BBH", answer[:4])[2], 0, 0
        raise NoAnswer


class Load:
    """All clients. They work while the gate is open; ``paused`` waits until nobody has a request under way."""

    def __init__(self, home: Household, rest_s: float = 0.0) -> None:
        self.home = home
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._rest_s = rest_s
        self._changed = threading.Condition()
        self._gate = False
        self._over = False
        self._busy = 0
        self._pause = threading.Event()
        self.clients = [self._client(n) for n in range(EACH * len(HOSTS))]
        self._threads = [threading.Thread(target=client.run, daemon=True) for client in self.clients]
        for thread in self._threads:
            thread.start()

    def _client(self, number: int) -> Client:
        host = HOSTS[number // EACH].name
        kind = number % EACH
        if kind == 3:
            return NatPmpClient(self, number, host)
        return IgdClient(self, number, host, IgdVersion.IGD2 if kind == 2 else IgdVersion.IGD1)

    # -- the clients' side

    def admitted(self, client: Client) -> bool:
        """Waits for the gate; False: it is over. The client is busy until it rests."""
        with self._changed:
            self._changed.wait_for(lambda: self._gate or self._over)
            self._busy += not self._over
            return not self._over

    def rest(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()
        if self._rest_s:
            self._pause.wait(self._rest_s)

    def wrong(self, what: str) -> None:
        self.errors.append(what)

    # -- the test's side

    def open(self) -> None:
        with self._changed:
            self._gate = True
            self._changed.notify_all()

    def shut(self) -> None:
        """Returns when nobody has a request under way."""
        with self._changed:
            self._gate = False
            assert self._changed.wait_for(lambda: self._busy == 0, 60), "a client hangs"

    def close(self) -> None:
        self.shut()
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.shut()
        try:
            yield
        finally:
            self.open()

    def await_answers(self, count: int, timeout: float = 30) -> None:
        """Until so many more were answered."""
        begun = self.answered
        done = threading.Event()
        for _ in range(int(timeout / 0.01)):
            if self.answered - begun >= count:
                return
            done.wait(0.01)
        raise AssertionError(f"{self.answered - begun} of {count} answers in {timeout} s: {dict(self.counts)}")

    @property
    def answered(self) -> int:
        return sum(n for what, n in self.counts.items() if what != "unanswered")

    def judge(self) -> list[str]:
        """Compares the answers to the clients with the mappings in force, which settle doubts. At rest only."""
        found = list(self.errors)
        self.errors.clear()
        if difference := self.home.disagreement():
            found.append(difference)
        stands = {(r["transport"], r["external_port"]): r["internal_client"] for r in self.home.rows()}
        for client in self.clients:
            for port, answer in client.ports.items():
                holder = stands.pop((client.transport.value, port), None)
                if answer is PortState.OPEN and holder is None:
                    found.append(f"{client.name}: {port} was acknowledged and is missing")
                if answer is PortState.SHUT and holder is not None:
                    found.append(f"{client.name}: {port} was refused or deleted and is open")
                if holder not in (None, str(client.host.address)):
                    found.append(f"{client.name}: {port} leads to {holder}")
                client.ports[port] = PortState.SHUT if holder is None else PortState.OPEN
        found += [f"{transport} {port} is open and nobody asked for it" for transport, port in stands]
        return found
